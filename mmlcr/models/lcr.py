# Copyright (c) The mmlcr authors. All rights reserved.
"""LCR, the LSTM CrossRWKV video backbone (arXiv 2411.05636)."""
from typing import Callable, Optional, Tuple

import torch
from mmengine.model import ModuleList
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
    VRWKV6Layer,
    build_cell,
    build_readout,
)
from mmlcr.ops import TokenLayout, TokenShift, layout_from_mask, rotary_table
from .checks import check_clip, check_state
from .embedding import FrameEmbedding
from .half import convert_matrices_only, half_dtype, under_autocast
from .pretrained import load_pretrained
from .state import LCRState

# Frames that are read together where gradients are disabled.
SLICE_FRAMES = 8


@MODELS.register_module()
class LCR(FrameEmbedding):
    """LSTM CrossRWKV: a recurrent network over the frames of a video.

    The ``L`` tokens of a frame (patches, then CLS) pass ``num_layers`` layers
    of type :class:`mmlcr.layers.CrossRWKVLayer` or
    :class:`mmlcr.layers.VRWKV6Layer`. Clips and streams have the same results,
    with every backend (:mod:`mmlcr.backends`).

    Args:
        embed_dims (int): Width ``D``. Defaults to 192.
        num_heads (int): Heads ``H``; ``K = D / H`` must be a multiple of 4.
            Defaults to 3.
        num_layers (int): Number of layers. Defaults to 8.
        patch_size (int): Side of a patch in pixels. Defaults to 16.
        hidden_rate (float): Inner width of the channel mix, relative to
            ``D``; 4 in the paper. Defaults to 2: with temporal difference and
            coupled cell, about the paper's number of parameters.
        stem (str): ``'patch'``, the paper's, or ``'conv'``, for training
            from scratch on little data. Defaults to ``'patch'``.
        temporal_shift (bool): Whether eqs. (4) and (5) also read differences
            to the previous frame; not in the paper. Defaults to True.
        stem_input (str): Input of the stems: the ``'frame'`` as in the paper,
            its ``'difference'`` to the previous frame, in which a still
            background vanishes, or ``'both'``. Defaults to ``'frame'``.
        edge_prompt (bool): Whether the prompt includes the edge map, eq. (2);
            without it ``e_t = x_t``. Defaults to True.
        cell (str): ``'paper'``, eq. (9), or ``'coupled'``, bounded by one.
            Defaults to ``'coupled'``.
        cell_clip (float, optional): Bound of the paper's cell. Defaults to
            None: a bound that only keeps it finite.
        layer (dict, optional): Type and options of the layers:
            ``'CrossRWKVLayer'`` (``residual``), or ``'VRWKV6Layer'``
            (``post_norm``, ``layer_scale``), Vision-RWKV's with an LSTM cell,
            which can start from the weights of image models
            (``mmlcr convert``). Defaults to
            ``dict(type='CrossRWKVLayer')``.
        rotary (bool): Whether receptance and key have rotary position
            embedding. Defaults to True.
        position_grid (tuple[int, int], optional): Rows and columns of a
            learned position embedding, resized to the input's grid. Defaults
            to None: there is none.
        readout (str): Readout of the tokens after the last frame: ``'cls'``,
            eq. (11), the ``'mean'`` of the patches, or ``'attention'``, CLS
            plus a learned weighted mean of the patches. In Cross RWKV layers
            keys and values come from the prompt only, so CLS does not depend
            on the patches' states. Defaults to ``'mean'``.
        supervised_frames (int): Number of last frames whose features are
            returned in training, for a loss on each. Defaults to 1.
        with_cp (bool): Whether training keeps only the inputs of a layer and
            recomputes it in the backward pass (activation checkpointing).
            Defaults to False.
        backend (str): Backend that runs the model: ``'module'``, the layers'
            own ``forward``, another one of
            :func:`mmlcr.backends.backend_names`, or ``'auto'``, the fastest
            one that supports model and clip. Defaults to ``'auto'``.
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
        for name in ('num_heads', 'num_layers', 'patch_size',
                     'supervised_frames'):
            if locals()[name] < 1:
                raise ValueError(f'{name} must be positive, got '
                                 f'{name}={locals()[name]}')
        if embed_dims % num_heads or embed_dims // num_heads % 4:
            raise ValueError(
                'embed_dims must be num_heads times a multiple of 4, got '
                f'embed_dims={embed_dims} and num_heads={num_heads}')
        super().__init__(
            embed_dims=embed_dims,
            patch_size=patch_size,
            stem=stem,
            stem_input=stem_input,
            edge_prompt=edge_prompt,
            position_grid=position_grid,
            init_cfg=init_cfg)
        self.num_heads = num_heads
        self.temporal_shift = temporal_shift
        self.rotary = rotary
        self.supervised_frames = supervised_frames
        self.with_cp = with_cp
        if backend != 'auto':
            get_backend(backend)
        self.backend = backend
        self.executors = ExecutorCache()
        self.half_dtype: Optional[torch.dtype] = None  # of the matrices

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
        # the norm after a residual stack of layers
        self.norm_out: nn.Module = nn.Identity()
        if layers[0].needs_outer_norms:
            self.norm_0 = nn.LayerNorm(embed_dims)
            self.norm_out = nn.LayerNorm(embed_dims)
        self.layers = ModuleList(layers)
        # the feature is [h; c], each with the heads of a layer
        self.readout = build_readout(readout, 2 * embed_dims, 2 * num_heads)

    def init_weights(self) -> None:
        """Initialise for training from scratch, or load pretrained weights.

        A checkpoint of ``init_cfg=dict(type='Pretrained', checkpoint=...,
        prefix=...)`` must have all weights of this model. Its stems may read
        only differences, or with ``stem_input='frame'`` there only frames,
        where those of this model read both.

        Raises:
            FileNotFoundError: If there is no such checkpoint.
            ValueError: If its weights are those of another model.
        """
        if self.init_cfg and self.init_cfg.get('type') == 'Pretrained':
            hint = ''
            if isinstance(self.layers[0], VRWKV6Layer):
                hint = '"mmlcr convert" converts an image model; '
            load_pretrained(self, self.init_cfg['checkpoint'],
                            self.init_cfg.get('prefix'), hint,
                            self.init_cfg.get('stem_input', 'difference'))
            self._is_init = True
            return
        super().init_weights()

    def train(self, mode: bool = True) -> 'LCR':
        """Set the training mode, and drop cached executors."""
        self.executors.clear()
        return super().train(mode)

    def _apply(self, fn: Callable, recurse: bool = True) -> 'LCR':
        """Convert as any module, but only matrices to half precision."""
        super()._apply(convert_matrices_only(self, fn), recurse)
        self.half_dtype = half_dtype(self)
        self.executors.clear()
        return self

    @under_autocast
    def forward(self,
                clip: Tensor,
                tube_mask: Optional[Tensor] = None) -> Tensor:
        """Compute the feature of a clip.

        Args:
            clip (Tensor): RGB and edge map, shape
                ``(B, 4, T, height, width)``, normalized, or uint8, which is
                normalized slice by slice. Without edge prompt, the fourth
                channel is ignored and may be missing.
            tube_mask (Tensor, optional): Bool, shape ``(B, rows, cols)``,
                True where a patch is dropped in every frame.

        Returns:
            Tensor: Readout of ``[o_T; c_T]``, shape ``(B, 2D)``. In training
            with ``supervised_frames`` above one, the readouts after the last
            frames, shape ``(B, supervised_frames, 2D)``.

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
        """Compute the feature of a stream after one more frame.

        Args:
            frame (Tensor): RGB and edge map, shape ``(B, 4, height, width)``.
            state (LCRState, optional): State that the previous step returned,
                or several states joined, with ``m`` windows. Defaults to
                None: this is the first frame.

        Returns:
            tuple[Tensor, LCRState]: Feature of the clip up to this frame,
            shape ``(m * B, 2D)``, and the state for the next step.

        Raises:
            ValueError: If channels, image size or state do not fit.
        """
        return self.forward_frames(frame[:, :, None], state)

    @under_autocast
    def forward_frames(
            self,
            clip: Tensor,
            state: Optional[LCRState] = None,
            tube_mask: Optional[Tensor] = None,
            *,
            out: Optional[LayerState] = None) -> Tuple[Tensor, LCRState]:
        """Compute the feature after some more frames of a stream or clip.

        Arguments are those of :meth:`forward` and :meth:`forward_step`.
        Without gradients, memory does not grow with the number of frames.
        ``out`` are buffers that the layers of the new state may overwrite:
        those of ``state``, or of a state that is not needed any more.
        """
        check_clip(self, clip)
        layout = self.layout(clip, tube_mask)
        check_state(self, clip, state, layout)
        executor = self.executor(clip, layout)
        length = clip.shape[2] if torch.is_grad_enabled() else SLICE_FRAMES
        *before, last = [clip]
        if clip.shape[2] > length:
            *before, last = clip.split(length, dim=2)
        for frames in before:
            state = self._run(frames, state, layout, executor, out)[1]
            out = state.layers
        output, state = self._run(last, state, layout, executor, out)
        return self.read(output.x[-1], output.c[-1]), state

    def executor(self, clip: Tensor, layout: TokenLayout) -> Executor:
        """Return the executor for a clip, by ``self.backend``.

        Raises:
            ValueError: If that backend does not support the clip.
        """
        return self.executors.get(self, clip, layout.num_tokens)

    def layout(self,
               clip: Tensor,
               tube_mask: Optional[Tensor] = None) -> TokenLayout:
        """Return the layout of a clip: its patch grid without dropped ones."""
        height, width = clip.shape[3:]
        layout = layout_from_mask(height // self.patch_size,
                                  width // self.patch_size, tube_mask)
        if tube_mask is not None and len(tube_mask) != len(clip):
            raise ValueError(f'tube_mask holds {len(tube_mask)} masks for '
                             f'{len(clip)} clips')
        return layout

    def geometry(self, layout: TokenLayout, x: Tensor) -> Geometry:
        """Return neighbours and rotary position of tokens like ``x``."""
        head_width = self.embed_dims // self.num_heads
        rotation = None
        if self.rotary:
            rotation = rotary_table(layout, head_width, x.device,
                                    torch.promote_types(x.dtype,
                                                        torch.float32))
        return Geometry(
            TokenShift.cached(layout, self.num_heads, head_width, x.device),
            rotation)

    def read(self, x: Tensor, c: Tensor) -> Tensor:
        """Read the feature ``(..., 2D)`` from tokens ``(..., L, D)``."""
        feature = self.readout(self.norm_out(x), c.to(x.dtype))
        return feature if self.half_dtype is None else feature.to(
            self.half_dtype)

    def _run(self,
             clip: Tensor,
             state: Optional[LCRState],
             layout: TokenLayout,
             executor: Executor,
             out: Optional[LayerState] = None
             ) -> Tuple[StackOutput, LCRState]:
        """Run frames through stem and layers; return also the new state."""
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
