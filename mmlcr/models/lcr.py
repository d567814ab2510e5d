# Copyright (c) The mmlcr authors. All rights reserved.
"""LCR, the LSTM CrossRWKV video backbone (arXiv 2411.05636)."""
import functools
import operator
from typing import (
    Any,
    Callable,
    Dict,
    List,
    NamedTuple,
    Optional,
    Tuple,
    Union,
)

import torch
from einops import rearrange
from mmengine.model import BaseModule, ModuleList
from mmengine.runner.checkpoint import CheckpointLoader
from torch import Tensor, nn

from mmaction.registry import MODELS
from mmlcr.layers import (
    CrossRWKVLayer,
    Frames,
    Functions,
    Fused,
    LayerState,
    LayerWeights,
    Normalize,
    PatchStem,
    Surroundings,
    TokenLayout,
    TokenShift,
    VRWKV6Layer,
    VRWKV6Weights,
    Wavefront,
    build_cell,
    build_readout,
    build_stem,
    compiled_functions,
    find_fused,
    is_traced,
    layout_from_mask,
    resize_position,
    rotary_table,
)

_VERSION = operator.attrgetter('_version')
# Frames that are read together where no gradient is kept.
SLICE_FRAMES = 8


class LCRState(NamedTuple):
    """What LCR carries from a frame to the next.

    There may be several memories of the same streams, that began at different
    frames: ``m`` of each, the streams of one memory together.
    """
    layers: LayerState  # of all, stacked: (num_layers, m * B, L, D)
    prompt: Optional[Tensor]  # (m * B, L, D), normed, for its difference
    frame: Optional[Tensor]  # (B, 4, height, width), likewise
    memories: int = 1  # m

    def energies(self) -> Tuple[Tensor, Tensor]:
        """How much each patch remembers: ``|h|`` and ``|c|``.

        Returns:
            tuple[Tensor, Tensor]: Norms over the channels of the patch tokens
            of the first memory, each of shape ``(num_layers, B, L - 1)``.
        """
        rows = self.layers.h.shape[1] // self.memories
        hidden, cell = (
            torch.linalg.vector_norm(t[:, :rows, :-1], dim=-1)
            for t in self.layers[:2])
        return hidden, cell

    def join(self,
             other: 'LCRState',
             place: Optional[LayerState] = None) -> 'LCRState':
        """With the memories of another state after the same frame.

        Args:
            other (LCRState): Of the same streams.
            place (LayerState, optional): Where the layers are to be. Defaults
                to None: elsewhere than those of either.
        """

        def joined(mine: Any, its: Any, dim: int, out: Any) -> Any:
            if mine is None:
                return None
            return torch.cat([mine, its], dim, out=out)

        places = place or (None, ) * len(self.layers)
        layers = [
            joined(mine, its, 1, out)
            for mine, its, out in zip(self.layers, other.layers, places)
        ]
        return self._replace(
            layers=LayerState(*layers),
            prompt=joined(self.prompt, other.prompt, 0, None),
            memories=self.memories + other.memories)

    def without_first(self,
                      place: Optional[LayerState] = None) -> 'LCRState':
        """All memories but the first; ``place`` as of :meth:`join`."""

        def left(mine: Any, dim: int, out: Any) -> Any:
            if mine is None:
                return None
            rows = mine.shape[dim] // self.memories
            mine = mine.narrow(dim, rows, mine.shape[dim] - rows)
            return mine.clone() if out is None else out.copy_(mine)

        places = place or (None, ) * len(self.layers)
        layers = [
            left(mine, 1, out) for mine, out in zip(self.layers, places)
        ]
        return self._replace(
            layers=LayerState(*layers),
            prompt=left(self.prompt, 0, None),
            memories=self.memories - 1)


class _Passage(NamedTuple):
    """What takes frames from pixels to tokens, and through all layers."""
    embed: Callable
    layers: Callable
    takes_bytes: bool = False


class _Kept(NamedTuple):
    """A passage, and what it was made of."""
    wanted: Tuple
    parameters: List[Dict[str, Optional[Tensor]]]  # of each module
    versions: Tuple[List[int], List[int]]
    passage: _Passage

    def serves(self, wanted: Tuple) -> bool:
        """Whether it is that, and no parameter changed."""
        return (self.wanted == wanted
                and self.versions == _versions(self.parameters))


@MODELS.register_module()
class LCR(BaseModule):
    """LSTM CrossRWKV: reads a video frame by frame with a memory.

    Of every frame, ``L`` tokens (patches, then CLS) pass ``num_layers``
    layers of :class:`mmlcr.layers.CrossRWKVLayer`, or of
    :class:`mmlcr.layers.VRWKV6Layer`. A clip is computed along the diagonals
    of layers and frames (:class:`mmlcr.layers.Wavefront`), a stream frame by
    frame: the same function of the same weights.

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
            None: only kept finite.
        layer_input (str): What the next layer of ``'lcr'`` reads: ``'h'``,
            the paper's, or ``'residual'``, ``A + h``. Defaults to ``'h'``.
        stack (str): What the layers are: ``'lcr'``, or ``'vrwkv6'``, those
            of Vision-RWKV's image models with LCR's memory
            (:class:`mmlcr.layers.VRWKV6Layer`), which go on with their
            weights (``tools/convert_vrwkv.py``) or start from scratch.
            Defaults to ``'lcr'``.
        post_norm (bool): Whether such layers norm what they add, instead of
            what they read. Defaults to False.
        layer_scale (float, optional): What the scales of what such layers add
            begin with. Defaults to None: there are none.
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
        compile_step (bool): Whether what the layers make of a frame goes
            through ``torch.compile``: faster, after the minutes that it takes
            for each shape. On a CPU it needs a C++ compiler, and there is a
            warning and no compiling without. Defaults to False.
        fused_kernels (bool): Whether inference on a CPU in float32 uses
            kernels that Numba compiles, once on a machine, where it is
            installed. Defaults to True.
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
                 layer_input: str = 'h',
                 stack: str = 'lcr',
                 post_norm: bool = False,
                 layer_scale: Optional[float] = None,
                 rotary: bool = True,
                 position_grid: Optional[Tuple[int, int]] = None,
                 readout: str = 'mean',
                 supervised_frames: int = 1,
                 with_cp: bool = False,
                 compile_step: bool = False,
                 fused_kernels: bool = True,
                 init_cfg: Optional[dict] = None) -> None:
        super().__init__(init_cfg=init_cfg)
        for name, value in (('num_heads', num_heads), ('num_layers',
                                                       num_layers),
                            ('patch_size', patch_size),
                            ('supervised_frames', supervised_frames)):
            if value < 1:
                raise ValueError(f'{name} must be positive, got '
                                 f'{name}={value}')
        if embed_dims % num_heads or embed_dims // num_heads % 4:
            raise ValueError(
                'embed_dims must be num_heads times a multiple of 4, got '
                f'embed_dims={embed_dims} and num_heads={num_heads}')
        if layer_input not in ('h', 'residual'):
            raise ValueError(
                f"layer_input must be 'h' or 'residual', got {layer_input!r}")
        if stack == 'vrwkv6' and layer_input != 'h':
            raise ValueError("layer_input is for stack='lcr', got "
                             f'layer_input={layer_input!r}')
        if stack not in ('lcr', 'vrwkv6'):
            raise ValueError(
                f"stack must be 'lcr' or 'vrwkv6', got {stack!r}")
        if stack == 'lcr' and (post_norm or layer_scale is not None):
            raise ValueError(
                "post_norm and layer_scale are for stack='vrwkv6', got "
                f'post_norm={post_norm} and layer_scale={layer_scale}')
        if stem_input not in ('frame', 'difference', 'both'):
            raise ValueError("stem_input must be 'frame', 'difference' or "
                             f"'both', got {stem_input!r}")
        self.embed_dims = embed_dims
        self.num_heads = num_heads
        self.patch_size = patch_size
        self.temporal_shift = temporal_shift
        self.stem_input = stem_input
        self.stack = stack
        self.residual = layer_input == 'residual'
        self.post_norm = post_norm
        self.rotary = rotary
        self.supervised_frames = supervised_frames
        self.with_cp = with_cp
        self.compile_step = compile_step
        self.fused_kernels = fused_kernels
        self._kept: Optional[_Kept] = None

        inputs = 2 if stem_input == 'both' else 1
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
        self.cell = build_cell(cell, cell_clip)
        of_layer = (embed_dims, num_heads, hidden_rate, temporal_shift)
        self.norm_0: nn.Module = nn.Identity()
        self.norm_out: nn.Module = nn.Identity()
        if stack == 'vrwkv6':
            self.norm_0 = nn.LayerNorm(embed_dims)
            self.norm_out = nn.LayerNorm(embed_dims)
            layers = [
                VRWKV6Layer(*of_layer, build_cell(cell, cell_clip),
                            layer_scale, post_norm) for _ in range(num_layers)
            ]
        else:
            layers = [
                CrossRWKVLayer(*of_layer, build_cell(cell, cell_clip),
                               self.residual) for _ in range(num_layers)
            ]
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
            self._load_pretrained(self.init_cfg['checkpoint'],
                                  self.init_cfg.get('prefix'))
            return
        super().init_weights()
        nn.init.trunc_normal_(self.cls_token, std=0.02)
        if self.position is not None:
            nn.init.trunc_normal_(self.position, std=0.02)

    def _load_pretrained(self, path: str, prefix: Optional[str]) -> None:
        try:
            weights = CheckpointLoader.load_checkpoint(path, 'cpu')
        except FileNotFoundError as error:
            hint = ''
            if self.stack == 'vrwkv6':
                hint = 'tools/convert_vrwkv.py makes it of an image model; '
            raise FileNotFoundError(
                f'{error}, which the config starts from: {hint}from scratch: '
                'model.backbone.init_cfg=None') from None
        weights = weights if isinstance(weights, dict) else {}
        weights = weights.get('state_dict', weights)
        if prefix:
            weights = {
                name[len(prefix):]: tensor
                for name, tensor in weights.items() if name.startswith(prefix)
            }
        try:
            self.load_state_dict(weights)
        except RuntimeError as error:
            raise ValueError(
                f'{path} is of another model: {error}') from error
        self._is_init = True

    def __getstate__(self) -> dict:
        """Copies are made without what was kept for inference."""
        return {**self.__dict__, '_kept': None}

    def train(self, mode: bool = True) -> 'LCR':
        """As of any module; what was kept for inference is made again."""
        self._kept = None
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
        wanted = self.supervised_frames if self.training else 1
        if wanted == 1:
            return self.forward_frames(clip, tube_mask=tube_mask)[0]
        self._check_clip(clip)
        if wanted > clip.shape[2]:
            raise ValueError(f'supervised_frames={wanted} of a clip of '
                             f'{clip.shape[2]} frames')
        layout = self._layout(clip, tube_mask)
        outputs, cells, _ = self._run(clip, None, layout,
                                      self._passage(clip, layout))
        features = self._read(
            torch.stack(outputs[-wanted:]), torch.stack(cells[-wanted:]))
        return features.transpose(0, 1)

    def forward_step(
            self,
            frame: Tensor,
            state: Optional[LCRState] = None) -> Tuple[Tensor, LCRState]:
        """The feature of a stream after one more frame.

        Args:
            frame (Tensor): RGB and edge map, shape ``(B, 4, height, width)``.
            state (LCRState, optional): What the step before returned, or
                several of these joined: of ``m`` memories. Defaults to None:
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
            place: Optional[LayerState] = None) -> Tuple[Tensor, LCRState]:
        """The feature after some more frames; arguments as above.

        Where no gradient is kept, memory does not grow with the number of
        frames. ``place`` is where the layers of the new state may be, over
        whatever is there: those of ``state``, or of one that nobody needs.
        """
        self._check_clip(clip)
        layout = self._layout(clip, tube_mask)
        self._check_state(clip, state, layout)
        passage = self._passage(clip, layout)
        together = clip.shape[2] if torch.is_grad_enabled() else SLICE_FRAMES
        *before, last = [clip]
        if clip.shape[2] > together:
            *before, last = clip.split(together, dim=2)
        for frames in before:
            state = self._run(frames, state, layout, passage, place)[2]
            place = state.layers
        outputs, cells, state = self._run(last, state, layout, passage, place)
        return self._read(outputs[-1], cells[-1]), state

    @torch.no_grad()
    def kept_memory(self,
                    frame: Tensor,
                    state: Optional[LCRState] = None) -> Tensor:
        """What share of its memory each patch keeps at a frame.

        The factor of ``c_{t-1}`` in eq. (9), mean over the channels: the
        forget gate, which the frame's edge prompt alone decides on.

        Args:
            frame (Tensor): As of :meth:`forward_step`.
            state (LCRState, optional): Before that frame. Defaults to None:
                it is the first.

        Returns:
            Tensor: Of each layer, shape ``(num_layers, B, rows, cols)``; one
            keeps all, zero forgets all. The paper's cell may exceed one.
        """
        clip = frame[:, :, None]
        self._check_clip(clip)
        layout = self._layout(clip, None)
        clip = self._normalized(clip)
        e = self._embed(clip, layout, state.frame if state else None)[1]
        weight = bias = None
        if self.cell.has_weights:
            forget = [layer.forget for layer in self.layers]
            weight = torch.stack([gate.weight for gate in forget])
            bias = torch.stack([gate.bias for gate in forget])
        gate = self.cell.gate(
            e.expand(len(self.layers), -1, -1, -1), weight, bias)
        patches = self.cell.kept(gate)[..., :-1, :].mean(-1)
        return patches.unflatten(-1, (layout.rows, layout.cols))

    def cut(
        self, clip: Tensor, layer: int
    ) -> Tuple[Tensor, Tensor, Callable[[Tensor, Tensor], Tensor]]:
        """A clip as it arrives at a layer, and what becomes of it above.

        By PyTorch's operations, so that there are gradients by both.

        Args:
            clip (Tensor): As of :meth:`forward`.
            layer (int): From zero, where the tokens of the stem arrive.

        Returns:
            tuple[Tensor, Tensor, Callable]: What the layer reads of each
            frame, ``x``, and the edge prompt of it and all above, ``e``, both
            ``(T, B, L, D)``; and the function that makes of these two the
            feature of the clip, shape ``(B, 2D)``.

        Raises:
            ValueError: If there is no such layer, or the clip does not fit.
        """
        self._check_clip(clip)
        if not 0 <= layer < len(self.layers):
            raise ValueError(f'there is no layer {layer}, only 0 to '
                             f'{len(self.layers) - 1}')
        layout = self._layout(clip, None)
        weights = self._weights(layout.num_patches + 1)

        def passed(x: Tensor, e: Tensor, start: int, stop: int) -> tuple:
            layers = Wavefront(weights.layers(start, stop), Functions())
            prompt = self.norm_e(e)
            before = prompt[0] if self.temporal_shift else None
            return layers(
                Frames(x, e, prompt, before), None,
                self._shift(layout, x.device), self._around(layout, x))

        def feature(x: Tensor, e: Tensor) -> Tensor:
            outputs, cells, _ = passed(x, e, layer, len(self.layers))
            return self._read(outputs[-1], cells[-1])

        x, e, _ = self._embed(self._normalized(clip), layout, None)
        if layer:
            x = torch.stack(passed(x, e, 0, layer)[0])
        return x, e, feature

    def _run(
        self, clip: Tensor, state: Optional[LCRState], layout: TokenLayout,
        passage: _Passage, place: Optional[LayerState] = None
    ) -> Tuple[List[Tensor], List[Tensor], LCRState]:
        """What the last layer gives and its cell for each frame, the state.

        That does not hold on to anything else; its layers may be where those
        of another one were.
        """
        if not passage.takes_bytes:
            clip = self._normalized(clip)
        x, e, prompt = passage.embed(clip, layout,
                                     state.frame if state else None)
        memories = state.memories if state else 1
        if memories > 1:
            x, e, prompt = (
                torch.cat([t] * memories, dim=1) for t in (x, e, prompt))
        before = None
        if self.temporal_shift:
            before = state.prompt if state else prompt[0]
        frames = Frames(x, e, prompt, before)
        outputs, cells, layers = passage.layers(
            frames, state.layers if state else None,
            self._shift(layout, x.device), self._around(layout, x), place)
        return outputs, cells, LCRState(
            layers,
            prompt[-1].clone() if self.temporal_shift else None,
            clip[:, :, -1].clone() if self.stem_input != 'frame' else None,
            memories)

    def _normalized(self, clip: Tensor) -> Tensor:
        if clip.dtype != torch.uint8:
            return clip
        assert self.normalize is not None  # as was checked
        return self.normalize(clip, self.cls_token.dtype)

    def _read(self, x: Tensor, c: Tensor) -> Tensor:
        """Equation (11) but the head: ``(..., L, D)`` to ``(..., 2D)``."""
        return self.readout(self.norm_out(x), c.to(x.dtype))

    def _embed(
            self, clip: Tensor, layout: TokenLayout,
            previous: Optional[Tensor]) -> Tuple[Tensor, Tensor, Tensor]:
        """Frame tokens and edge prompt, equations (1) and (2), its norm."""
        T = clip.shape[2]
        inputs = rearrange(
            self._stem_inputs(clip, previous), 'n b c t h w -> (t b) n c h w')
        x = self.stem(inputs[:, :, :3].flatten(1, 2))
        if self.position is not None:
            x = x + resize_position(self.position, x.shape[-2:])
        e = x
        if self.edge_stem is not None and self.zero_conv is not None:
            edges = inputs[:, :, 3:].flatten(1, 2)
            e = x + self.zero_conv(self.edge_stem(edges))
        e = self._tokens(e, T, layout)
        x = self.norm_0(self._tokens(x, T, layout))
        return x, e, self.norm_e(e)

    def _stem_inputs(self, clip: Tensor,
                     previous: Optional[Tensor]) -> Tensor:
        """The clip, its difference or both, ``(1 or 2, *clip.shape)``."""
        if self.stem_input == 'frame':
            return clip[None]
        before = clip[:, :, 0] if previous is None else previous
        difference = torch.diff(clip, dim=2, prepend=before[:, :, None])
        if self.stem_input == 'difference':
            return difference[None]
        return torch.stack([clip, difference])

    def _tokens(self, features: Tensor, T: int,
                layout: TokenLayout) -> Tensor:
        patches = layout.drop(
            rearrange(features, '(t b) d r c -> t b (r c) d', t=T))
        cls = self.cls_token.to(patches.dtype).expand(*patches.shape[:2], 1,
                                                      -1)
        return torch.cat([patches, cls], dim=2)

    def _shift(self, layout: TokenLayout, device: torch.device) -> TokenShift:
        return TokenShift.of(layout, self.num_heads,
                             self.embed_dims // self.num_heads, device)

    def _around(self, layout: TokenLayout, x: Tensor) -> Callable:
        """What the layers have in common, but the neighbours."""
        return functools.partial(
            Surroundings,
            self.cell,
            rotation=self._rotation(layout, x),
            temporal_shift=self.temporal_shift,
            residual=self.residual,
            post_norm=self.post_norm)

    def _rotation(self, layout: TokenLayout, x: Tensor) -> Optional[Tensor]:
        if not self.rotary:
            return None
        return rotary_table(layout, self.embed_dims // self.num_heads,
                            x.device,
                            torch.promote_types(x.dtype, torch.float32))

    def _layout(self, clip: Tensor,
                tube_mask: Optional[Tensor]) -> TokenLayout:
        height, width = clip.shape[3:]
        layout = layout_from_mask(height // self.patch_size,
                                  width // self.patch_size, tube_mask)
        if tube_mask is not None and len(tube_mask) != len(clip):
            raise ValueError(f'tube_mask holds {len(tube_mask)} masks for '
                             f'{len(clip)} clips')
        return layout

    def _passage(self, clip: Tensor, layout: TokenLayout) -> _Passage:
        """What takes frames from pixels through all layers.

        Kept for inference, as long as no parameter changes.
        """
        num_tokens = layout.num_patches + 1
        functions = Functions()
        if self.compile_step:
            functions = compiled_functions()
        if torch.is_grad_enabled() or is_traced():
            with_cp = self.with_cp and torch.is_grad_enabled()
            return _Passage(
                self._embed,
                Wavefront(self._weights(num_tokens), functions, with_cp))
        fused = None
        if (self.fused_kernels and not self.compile_step
                and self.stack == 'lcr'
                and self.cls_token.dtype == torch.float32):
            fused = find_fused(clip)
        wanted = num_tokens, functions, fused
        kept = self._kept  # another thread may put another one there
        if kept is None or not kept.serves(wanted):
            parameters = [m._parameters for m in self.modules()]
            with torch.inference_mode(False), torch.no_grad():
                weights = self._weights(num_tokens)
                passage = (
                    _Passage(self._embed,
                             Wavefront(weights.laid_out(), functions))
                    if fused is None else self._fused_passage(fused, weights))
            kept = _Kept(wanted, parameters, _versions(parameters), passage)
            self._kept = kept
        return kept.passage

    def _fused_passage(self, fused: Fused,
                       weights: Union[LayerWeights, VRWKV6Weights]
                       ) -> _Passage:
        assert isinstance(weights, LayerWeights)  # of others, fused is None
        layers = fused.layers(weights)
        if not isinstance(self.stem, PatchStem) or self.stem_input != 'frame':
            return _Passage(self._embed, layers)
        stem = fused.stem(self.stem, self.edge_stem, self.zero_conv,
                          self.position, self.cls_token, self.norm_e,
                          self.normalize)
        return _Passage(stem, layers, takes_bytes=True)

    def _weights(self, num_tokens: int) -> Union[LayerWeights, VRWKV6Weights]:
        if self.stack == 'vrwkv6':
            return VRWKV6Weights.of(self.layers)
        return LayerWeights.of(self.layers, num_tokens)

    def _check_clip(self, clip: Tensor) -> None:
        if self.cls_token.dtype in (torch.float16, torch.bfloat16):
            raise TypeError(
                f'the weights are {self.cls_token.dtype}, in which memory and '
                'decays lose what they are for: leave them in float32 and '
                'take autocast (--amp in training, test_cfg.fp16=True in '
                'testing, torch.autocast in code of your own)')
        channels = (4, ) if self.edge_stem is not None else (3, 4)
        if clip.ndim != 5 or clip.shape[1] not in channels:
            raise ValueError(
                'LCR reads clips of shape (B, 4, T, height, width), RGB and '
                f'the edge map that EdgeMap adds, got {tuple(clip.shape)}; '
                'to_rgb=True of the data preprocessor drops the edge map')
        if clip.dtype == torch.uint8 and self.normalize is None:
            raise ValueError(
                'a clip of bytes: only LCRRecognizer with LCRDataPreprocessor '
                'tells LCR how to normalize them')
        if not clip.shape[2]:
            raise ValueError(f'a clip of no frames: {tuple(clip.shape)}')
        height, width = clip.shape[3:]
        if height % self.patch_size or width % self.patch_size:
            raise ValueError(f'the patch size {self.patch_size} does not '
                             f'divide frames of {height}x{width}')

    def _check_state(self, clip: Tensor, state: Optional[LCRState],
                     layout: TokenLayout) -> None:
        if state is None:
            return
        of_frame = (state.memories * len(clip), layout.num_patches + 1,
                    self.embed_dims)
        of_layers = (len(self.layers), *of_frame)
        shift, frame = self.temporal_shift, self.stem_input != 'frame'
        for name, tensor, expected in (
            ('h (layers, B, L, D)', state.layers.h, of_layers),
            ('c (layers, B, L, D)', state.layers.c, of_layers),
            ('x (layers, B, L, D)', state.layers.x, shift and of_layers),
            ('prompt (B, L, D)', state.prompt, shift and of_frame),
            ('frame', state.frame, frame and (*clip.shape[:2],
                                              *clip.shape[3:]))):
            found = tensor is not None and tuple(tensor.shape)
            if found != expected:
                raise ValueError(
                    'a state of another model, of other streams or frames: '
                    f'its {name} is {found or None}, not {expected or None}')


def _versions(
        parameters: List[Dict[str, Optional[Tensor]]]
) -> Tuple[List[int], List[int]]:
    """Where each is, and how often it was changed in place.

    That is not counted of inference tensors.
    """
    known = [
        p for of_module in parameters for p in of_module.values()
        if p is not None
    ]
    try:
        versions = [*map(_VERSION, known)]
    except RuntimeError:  # of an inference tensor
        versions = [-1 if p.is_inference() else p._version for p in known]
    return [*map(Tensor.data_ptr, known)], versions
