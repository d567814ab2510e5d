# Copyright (c) The mmlcr authors. All rights reserved.
"""LCR, the LSTM CrossRWKV video backbone (arXiv 2411.05636)."""
from typing import Optional, Tuple

import torch
from einops import rearrange
from mmengine.model import BaseModule, ModuleList
from torch import Tensor, nn

from mmaction.registry import MODELS
from mmlcr.backends import (
    Executor,
    ExecutorCache,
    StackOutput,
    Tokens,
    get_backend,
)
from mmlcr.layers import (
    Geometry,
    LayerState,
    Normalize,
    VRWKV6Layer,
    build_cell,
    build_readout,
    build_stem,
    num_stem_inputs,
    resize_position,
    stem_inputs,
)
from mmlcr.ops import TokenLayout, TokenShift, layout_from_mask, rotary_table
from .checks import check_clip, check_state
from .pretrained import load_pretrained
from .state import LCRState

# Frames that are read together where gradients are disabled.
SLICE_FRAMES = 8


@MODELS.register_module()
class LCR(BaseModule):
    """LSTM CrossRWKV: reads a video frame by frame with a memory.

    The ``L`` tokens of a frame (patches, then CLS) pass ``num_layers`` layers
    of :class:`mmlcr.layers.CrossRWKVLayer` or
    :class:`mmlcr.layers.VRWKV6Layer`. A clip and a stream are the same
    function of the same weights, whichever backend runs them
    (:mod:`mmlcr.backends`).

    Args:
        embed_dims (int): Width ``D``. Defaults to 192.
        num_heads (int): Heads ``H``; ``K = D / H`` must be a multiple of 4.
            Defaults to 3.
        num_layers (int): Layers. Defaults to 8.
        patch_size (int): Side of a patch in pixels. Defaults to 16.
        hidden_rate (float): Inner width of the channel mix over ``D``. The
            paper's form has 4. Defaults to 2: with the temporal difference
            and the coupled cell, about the paper's number of parameters.
        stem (str): ``'patch'``, the paper's, or ``'conv'``, for training
            from scratch on little data. Defaults to ``'patch'``.
        temporal_shift (bool): Whether differences to the previous frame join
            eqs. (4) and (5). The paper's form has none. Defaults to True.
        stem_input (str): What the stems of frames and edge maps read: the
            ``'frame'``, the paper's form, its ``'difference'`` to the
            previous frame, which a still background is not part of, or
            ``'both'``. Defaults to ``'frame'``.
        edge_prompt (bool): Whether the edge map joins the prompt, eq. (2);
            without it ``e_t = x_t``. Defaults to True.
        cell (str): ``'paper'``, eq. (9), or ``'coupled'``, bounded by one.
            Defaults to ``'coupled'``.
        cell_clip (float, optional): Range of the paper's cell. Defaults to
            None: only so that it stays finite.
        layer (dict, optional): The layers' type and own options:
            ``'CrossRWKVLayer'`` (``residual``), or ``'VRWKV6Layer'``
            (``post_norm``, ``layer_scale``), Vision-RWKV's with LCR's memory,
            which can start from weights of its image models
            (``tools/convert_vrwkv.py``). Defaults to None:
            ``dict(type='CrossRWKVLayer')``.
        rotary (bool): Whether rotary position turns receptance and key.
            Defaults to True.
        position_grid (tuple[int, int], optional): Rows and columns of a
            learned position embedding, resized to the input's grid. Defaults
            to None: there is none.
        readout (str): What is read of the tokens after the last frame:
            ``'cls'``, eq. (11), the ``'mean'`` of the patches, or
            ``'attention'``, CLS and a learned weighted mean of the patches.
            All layers take keys and values from the same prompt, so that CLS
            never sees what became of the patches. Defaults to ``'mean'``.
        supervised_frames (int): In training, the features after each of so
            many last frames are returned, for a loss on each. Defaults to 1.
        with_cp (bool): Whether training keeps of a layer its inputs alone
            and computes it again in the backward pass: less memory, at the
            price of a second forward pass. Defaults to False.
        backend (str): What runs the model: ``'module'``, the layers' own
            ``forward``, another name of :func:`mmlcr.backends.backend_names`,
            or ``'auto'``: the fastest that supports model and clip. Defaults
            to ``'auto'``.
        init_cfg (dict, optional): MMEngine's. Defaults to None.

    Raises:
        ValueError: If an option has an unknown value, or the heads do not
            divide the width into multiples of 4.
    """

    def __init__(self,
                 *,
                 embed_dims: int = 192,
                 num_heads: int = 3,
                 num_layers: int = 8,
                 patch_size: int = 16,
                 hidden_rate: float = 2.,
                 stem: str = 'patch',
                 temporal_shift: bool = True,
                 stem_input: str = 'frame',
                 edge_prompt: bool = True,
                 cell: str = 'coupled',
                 cell_clip: Optional[float] = None,
                 layer: Optional[dict] = None,
                 rotary: bool = True,
                 position_grid: Optional[Tuple[int, int]] = None,
                 readout: str = 'mean',
                 supervised_frames: int = 1,
                 with_cp: bool = False,
                 backend: str = 'auto',
                 init_cfg: Optional[dict] = None) -> None:
        super().__init__(init_cfg=init_cfg)
        for name in ('num_heads', 'num_layers', 'patch_size',
                     'supervised_frames'):
            if locals()[name] < 1:
                raise ValueError(f'{name} must be positive, got '
                                 f'{name}={locals()[name]}')
        if embed_dims % num_heads or embed_dims // num_heads % 4:
            raise ValueError(
                'embed_dims must be num_heads times a multiple of 4, got '
                f'embed_dims={embed_dims} and num_heads={num_heads}')
        self.embed_dims = embed_dims
        self.num_heads = num_heads
        self.patch_size = patch_size
        self.temporal_shift = temporal_shift
        self.stem_input = stem_input
        self.rotary = rotary
        self.supervised_frames = supervised_frames
        self.with_cp = with_cp
        if backend != 'auto':
            get_backend(backend)
        self.backend = backend
        self.executors = ExecutorCache()

        inputs = num_stem_inputs(stem_input)
        self.stem = build_stem(stem, 3 * inputs, embed_dims, patch_size)
        self.edge_stem = self.zero_conv = None
        if edge_prompt:
            self.edge_stem = build_stem(stem, inputs, embed_dims, patch_size)
            self.zero_conv = nn.Conv2d(embed_dims, embed_dims, 1)
            for parameter in self.zero_conv.parameters():
                nn.init.zeros_(parameter)
        self.cls_token = nn.Parameter(torch.zeros(embed_dims))
        self.position = None
        if position_grid is not None:
            self.position = nn.Parameter(
                torch.zeros(1, embed_dims, *position_grid))
        self.norm_e = nn.LayerNorm(embed_dims)
        layer = {'type': 'CrossRWKVLayer', **(layer or {})}
        layers = [
            MODELS.build(
                dict(
                    layer,
                    embed_dims=embed_dims,
                    num_heads=num_heads,
                    hidden_rate=hidden_rate,
                    temporal_shift=temporal_shift,
                    cell=build_cell(cell, cell_clip)))
            for _ in range(num_layers)
        ]
        # around layers that add to their input without a norm
        self.norm_0: nn.Module = nn.Identity()
        self.norm_out: nn.Module = nn.Identity()
        if layers[0].needs_outer_norms:
            self.norm_0 = nn.LayerNorm(embed_dims)
            self.norm_out = nn.LayerNorm(embed_dims)
        self.layers = ModuleList(layers)
        self.normalize: Optional[Normalize] = None  # set by the recognizer
        # of h and of c, each with the heads of a layer
        self.readout = build_readout(readout, 2 * embed_dims, 2 * num_heads)

    def init_weights(self) -> None:
        """Initialise for training from scratch, or take pretrained weights.

        Those of ``init_cfg=dict(type='Pretrained', checkpoint=...,
        prefix=...)`` are all weights of this model.

        Raises:
            FileNotFoundError: If there is no such checkpoint.
            ValueError: If it is of another model.
        """
        if self.init_cfg and self.init_cfg.get('type') == 'Pretrained':
            hint = ''
            if isinstance(self.layers[0], VRWKV6Layer):
                hint = 'tools/convert_vrwkv.py makes it of an image model; '
            load_pretrained(self, self.init_cfg['checkpoint'],
                            self.init_cfg.get('prefix'), hint)
            self._is_init = True
            return
        super().init_weights()
        nn.init.trunc_normal_(self.cls_token, std=0.02)
        if self.position is not None:
            nn.init.trunc_normal_(self.position, std=0.02)

    def train(self, mode: bool = True) -> 'LCR':
        """As of any module; cached executors are dropped."""
        self.executors.clear()
        return super().train(mode)

    def forward(self,
                clip: Tensor,
                tube_mask: Optional[Tensor] = None) -> Tensor:
        """The feature of a clip.

        Args:
            clip (Tensor): RGB and edge map, shape
                ``(B, 4, T, height, width)``, normalized, or bytes that are
                converted slice by slice. Without edge prompt, the fourth
                channel may be missing and is ignored.
            tube_mask (Tensor, optional): Bool, shape ``(B, rows, cols)``,
                True where a patch is dropped in every frame.

        Returns:
            Tensor: ``[o_T; c_T]`` as read of the tokens, shape ``(B, 2D)``;
            in training with ``supervised_frames`` above one, that after each
            of so many last frames, shape ``(B, supervised_frames, 2D)``.

        Raises:
            ValueError: If channels, image size, mask or number of frames do
                not fit.
        """
        frames = self.supervised_frames if self.training else 1
        if frames == 1:
            return self.forward_frames(clip, tube_mask=tube_mask)[0]
        check_clip(self, clip)
        if frames > clip.shape[2]:
            raise ValueError(f'supervised_frames={frames} of a clip of '
                             f'{clip.shape[2]} frames')
        layout = self.layout(clip, tube_mask)
        output, _ = self._run(clip, None, layout,
                              self.executor(clip, layout))
        x, c = (torch.stack([*t[-frames:]]) for t in (output.x, output.c))
        return self.read(x, c).transpose(0, 1)

    def forward_step(
            self,
            frame: Tensor,
            state: Optional[LCRState] = None) -> Tuple[Tensor, LCRState]:
        """The feature of a stream after one more frame.

        Args:
            frame (Tensor): RGB and edge map, shape ``(B, 4, height, width)``.
            state (LCRState, optional): What the step before returned, or
                several of these joined: ``m`` windows. Defaults to None:
                start afresh.

        Returns:
            tuple[Tensor, LCRState]: Feature, shape ``(m * B, 2D)``, as
            of the clip up to this frame, and the state for the next step.

        Raises:
            ValueError: If channels, image size or state do not fit.
        """
        return self.forward_frames(frame[:, :, None], state)

    def forward_frames(
            self,
            clip: Tensor,
            state: Optional[LCRState] = None,
            tube_mask: Optional[Tensor] = None,
            *,
            out: Optional[LayerState] = None) -> Tuple[Tensor, LCRState]:
        """The feature after some more frames; arguments as above.

        Where gradients are disabled, memory does not grow with the number of
        frames. ``out`` is memory that the layers of the new state may
        overwrite: that of ``state``, or of a state that is not needed.
        """
        check_clip(self, clip)
        layout = self.layout(clip, tube_mask)
        check_state(self, clip, state, layout)
        executor = self.executor(clip, layout)
        together = clip.shape[2] if torch.is_grad_enabled() else SLICE_FRAMES
        *before, last = [clip]
        if clip.shape[2] > together:
            *before, last = clip.split(together, dim=2)
        for frames in before:
            state = self._run(frames, state, layout, executor, out)[1]
            out = state.layers
        output, state = self._run(last, state, layout, executor, out)
        return self.read(output.x[-1], output.c[-1]), state

    def executor(self, clip: Tensor, layout: TokenLayout) -> Executor:
        """What runs a clip, by ``self.backend``.

        Raises:
            ValueError: If that backend does not support the clip.
        """
        return self.executors.get(self, clip, layout.num_tokens)

    def layout(self,
               clip: Tensor,
               tube_mask: Optional[Tensor] = None) -> TokenLayout:
        """Which patches of a clip become tokens."""
        height, width = clip.shape[3:]
        layout = layout_from_mask(height // self.patch_size,
                                  width // self.patch_size, tube_mask)
        if tube_mask is not None and len(tube_mask) != len(clip):
            raise ValueError(f'tube_mask holds {len(tube_mask)} masks for '
                             f'{len(clip)} clips')
        return layout

    def geometry(self, layout: TokenLayout, x: Tensor) -> Geometry:
        """Neighbours and rotary position of tokens like ``x``."""
        head_width = self.embed_dims // self.num_heads
        rotation = None
        if self.rotary:
            rotation = rotary_table(layout, head_width, x.device,
                                    torch.promote_types(x.dtype,
                                                        torch.float32))
        return Geometry(
            TokenShift.cached(layout, self.num_heads, head_width, x.device),
            rotation)

    def embed(self, clip: Tensor, layout: TokenLayout,
              previous: Optional[Tensor] = None) -> Tokens:
        """Frame tokens, eq. (1), edge prompt, eq. (2), and its norm.

        Args:
            clip (Tensor): Normalized, ``(B, 4, T, height, width)``.
            layout (TokenLayout): Which patches become tokens.
            previous (Tensor, optional): The frame before the clip, for
                differences of pixels. Defaults to None: there is none.
        """
        T = clip.shape[2]
        inputs = rearrange(
            stem_inputs(clip, previous, self.stem_input),
            'n b c t h w -> (t b) n c h w')
        x = self.stem(inputs[:, :, :3].flatten(1, 2))
        if self.position is not None:
            x = x + resize_position(self.position, x.shape[-2:])
        e = x
        if self.edge_stem is not None and self.zero_conv is not None:
            edges = inputs[:, :, 3:].flatten(1, 2)
            e = x + self.zero_conv(self.edge_stem(edges))
        e = self._tokens(e, T, layout)
        x = self.norm_0(self._tokens(x, T, layout))
        return Tokens(x, e, self.norm_e(e))

    def read(self, x: Tensor, c: Tensor) -> Tensor:
        """Equation (11) without the head: ``(..., L, D)`` to ``(..., 2D)``."""
        return self.readout(self.norm_out(x), c.to(x.dtype))

    def normalized(self, clip: Tensor) -> Tensor:
        """A clip of bytes as the stems read it; others as they are."""
        if clip.dtype != torch.uint8:
            return clip
        assert self.normalize is not None  # check_clip says so
        return self.normalize(clip, self.cls_token.dtype)

    def _run(self,
             clip: Tensor,
             state: Optional[LCRState],
             layout: TokenLayout,
             executor: Executor,
             out: Optional[LayerState] = None
             ) -> Tuple[StackOutput, LCRState]:
        """Some frames through stem and layers, and the state after them."""
        if not executor.takes_bytes:
            clip = self.normalized(clip)
        tokens = executor.embed(clip, layout, state.frame if state else None)
        windows = state.windows if state else 1
        if windows > 1:
            tokens = Tokens(
                *(torch.cat([t] * windows, dim=1) for t in tokens))
        before = None
        if self.temporal_shift:
            before = state.prompt if state else tokens.e_norm[0]
        output = executor.run_layers(tokens, before,
                                     state.layers if state else None,
                                     self.geometry(layout, tokens.x), out)
        return output, LCRState(
            output.state,
            tokens.e_norm[-1].clone() if self.temporal_shift else None,
            clip[:, :, -1].clone() if self.stem_input != 'frame' else None,
            windows)

    def _tokens(self, features: Tensor, T: int,
                layout: TokenLayout) -> Tensor:
        patches = layout.drop(
            rearrange(features, '(t b) d r c -> t b (r c) d', t=T))
        cls = self.cls_token.to(patches.dtype).expand(*patches.shape[:2], 1,
                                                      -1)
        return torch.cat([patches, cls], dim=2)
