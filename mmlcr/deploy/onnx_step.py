# Copyright (c) The mmlcr authors. All rights reserved.
"""A step of a stream as an ONNX graph, its state as inputs and outputs."""
import hashlib
import json
import os.path as osp
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np
import torch
from mmengine.model import BaseModel
from torch import Tensor, nn
from typing_extensions import TypeGuard

from mmlcr.backends.onnx import OnnxExecutor
from mmlcr.layers import LayerState
from mmlcr.models.lcr_head import LCRHead
from mmlcr.models.state import LCRState
from mmlcr.ops import TokenLayout

OPSET = 18
METADATA = 'mmlcr'  # key of the metadata in a file, which are JSON


class OnnxStep:
    """Runs a step that :func:`export_step` wrote, by onnxruntime on a CPU.

    Args:
        path (str): The file.
        threads (int): Number of threads. Defaults to 0: one per core.

    Raises:
        ValueError: If it is another kind of file.
    """

    def __init__(self, path: str, threads: int = 0) -> None:
        import onnxruntime
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        try:
            self.session = onnxruntime.InferenceSession(
                path, options, providers=['CPUExecutionProvider'])
        except Exception as error:  # onnxruntime has a dozen of them
            raise ValueError(f'{path}: {error}') from None
        metadata = self.session.get_modelmeta().custom_metadata_map
        if METADATA not in metadata:
            raise ValueError(f'{path}: not a step that "mmlcr export" '
                             'wrote')
        self.metadata: Dict[str, Any] = json.loads(metadata[METADATA])
        frames, _, *self.states = self.session.get_inputs()
        self.frame_shape = tuple(frames.shape[1:])  # (4, height, width)

    def __call__(self,
                 frames: Tensor,
                 state: Optional[LCRState],
                 out: Optional[LayerState] = None
                 ) -> Tuple[Tensor, LCRState]:
        """Process one frame of each stream.

        Args:
            frames (Tensor): uint8, shape ``(B, 4, 1, height, width)``.
            state (LCRState, optional): State of ``m`` windows before the
                frame; None for a new stream.
            out (LayerState, optional): Not used.

        Returns:
            tuple[Tensor, LCRState]: Scores ``(m * B, classes)`` and the new
            state.

        Raises:
            ValueError: If frames have another size than those of the graph.
        """
        frames = frames[:, :, 0]
        if tuple(frames.shape[1:]) != self.frame_shape:
            raise ValueError(
                'the ONNX graph is for frames of (4, height, width) = '
                f'{self.frame_shape}, got {tuple(frames.shape[1:])}')
        B = len(frames)
        if state is None:
            values = [
                np.zeros([B if isinstance(size, str) else size
                          for size in node.shape], np.float32)
                for node in self.states
            ]
        else:
            frames = torch.cat([frames] * state.windows)
            if state.frame is not None:
                state = state._replace(
                    frame=torch.cat([state.frame] * state.windows))
            values = [t.numpy() for t in flatten_state(state)]
        inputs = dict(zip((node.name for node in self.states), values))
        inputs['frames'] = frames.numpy()
        inputs['first'] = np.full(len(frames), state is None)
        scores, *after = self.session.run(None, inputs)
        return torch.from_numpy(scores), self._state(after, B)

    def retention(self, frames: Tensor, state: Optional[LCRState]) -> None:
        """Return None: the graph does not output the forget gate."""

    def _state(self, tensors: Sequence[np.ndarray], B: int) -> LCRState:
        named = dict(
            zip((node.name for node in self.states),
                map(torch.from_numpy, tensors)))
        frame = named.get('frame')
        return LCRState(
            LayerState(named['h'], named['c'], named.get('x')),
            named.get('prompt'), None if frame is None else frame[:B],
            len(named['h'][0]) // B)


class Step(nn.Module):
    """A step of a stream in operations that can be exported.

    Args:
        model (BaseModel): A recognizer with LCR, in evaluation mode.
        height (int): Height of the model's input in pixels.
        width (int): Width of the model's input in pixels.
    """

    def __init__(self, model: BaseModel, height: int, width: int) -> None:
        super().__init__()
        self.backbone, self.head = model.backbone, model.cls_head
        self.preprocessor = model.data_preprocessor
        lcr = self.backbone
        self.layout = TokenLayout(height // lcr.patch_size,
                                  width // lcr.patch_size)
        tokens = self.layout.num_tokens
        self.executor = OnnxExecutor(lcr, tokens)
        self.geometry = lcr.geometry(self.layout, lcr.cls_token)
        self.shapes: Dict[str, List[Any]] = dict.fromkeys(
            ('h', 'c'), [len(lcr.layers), 'batch', tokens, lcr.embed_dims])
        if lcr.temporal_shift:
            self.shapes['x'] = self.shapes['h']
            self.shapes['prompt'] = self.shapes['h'][1:]
        if lcr.stem_input != 'frame':
            self.shapes['frame'] = ['batch', 4, height, width]

    def forward(self, frames: Tensor, first: Tensor,
                *state: Tensor) -> Tuple[Tensor, ...]:
        """Process one frame of each stream.

        Args:
            frames (Tensor): RGB and edge map, uint8,
                ``(B, 4, height, width)``.
            first (Tensor): Bool, ``(B, )``, True for the first frame of a
                stream, whose state must be zero.
            state (Tensor): State tensors of the previous step, in the order
                of ``self.shapes``.

        Returns:
            tuple[Tensor, ...]: Scores ``(B, classes)``, as the model has them
            in testing, and the new state tensors.
        """
        lcr, named = self.backbone, dict(zip(self.shapes, state))
        clip = frames[:, :, None].float()
        if self.preprocessor._enable_normalize:
            clip = (clip - self.preprocessor.mean) / self.preprocessor.std
        previous = None
        if 'frame' in named:
            previous = torch.where(first[:, None, None, None], clip[:, :, 0],
                                   named['frame'])
        tokens = self.executor.embed(clip, self.layout, previous)
        before = None
        if 'prompt' in named:
            before = torch.where(first[:, None, None], tokens.e_norm[0],
                                 named['prompt'])
        output = self.executor.run_step(
            tokens, before,
            LayerState(named['h'], named['c'], named.get('x')), self.geometry,
            first)
        scores = view_scores(self.head, lcr.read(output.x[-1], output.c[-1]))
        after = LCRState(output.state,
                         None if before is None else tokens.e_norm[0],
                         None if previous is None else clip[:, :, 0])
        return (scores, *flatten_state(after))


def view_scores(head: nn.Module, feature: Tensor) -> Tensor:
    """Return the scores or probabilities that testing averages over views."""
    scores = head(feature)
    if head.average_clips != 'prob':
        return scores
    if isinstance(head, LCRHead):
        return head.probabilities(scores)
    return scores.softmax(-1)


def flatten_state(state: LCRState) -> List[Tensor]:
    """List the tensors of a state in the order of ``Step.shapes``."""
    tensors = [*state.layers, state.prompt, state.frame]
    return [t for t in tensors if t is not None]


@torch.no_grad()
def export_step(model: BaseModel, path: str, height: int, width: int,
                metadata: Dict[str, Any], int8: bool = False) -> None:
    """Export a step to ONNX, with a dynamic batch size, and check the graph.

    Args:
        model (BaseModel): A recognizer with LCR.
        path (str): The file.
        height (int): Height of the model's input in pixels.
        width (int): Width of the model's input in pixels.
        metadata (dict): Metadata of the file; JSON types.
        int8 (bool): Whether weights of matrix products are quantized to eight
            bits. Defaults to False.

    Raises:
        ImportError: If onnx, onnxruntime or onnxscript is missing.
        ValueError: If the patch size does not divide the frames.
    """
    import onnx
    size = model.backbone.patch_size
    if height % size or width % size:
        raise ValueError(f'the patch size {size} does not divide frames of '
                         f'{height}x{width}')
    step = Step(model, height, width).eval()
    B = 3  # the exporter would make a constant of 1
    inputs = (torch.randint(256, (B, 4, height, width), dtype=torch.uint8),
              torch.zeros(B, dtype=torch.bool),
              *(torch.zeros([B if size == 'batch' else size for size in shape])
                for shape in step.shapes.values()))
    batch = torch.export.Dim('batch')
    names = list(step.shapes)
    sizes = [{shape.index('batch'): batch} for shape in step.shapes.values()]
    program = torch.export.export(
        step, inputs, dynamic_shapes=({0: batch}, {0: batch}, tuple(sizes)))
    graph = torch.onnx.export(
        program,
        dynamo=True,
        opset_version=OPSET,
        input_names=['frames', 'first', *names],
        output_names=['scores', *(f'{name}_after' for name in names)],
        verbose=False)
    assert graph is not None
    written = graph.model_proto
    if int8:
        from onnxruntime.quantization import QuantType, quantize_dynamic
        quantize_dynamic(written, path, weight_type=QuantType.QInt8)
        written = onnx.load(path)
    for value in (*written.graph.input, *written.graph.output):
        for length in value.type.tensor_type.shape.dim:
            if length.dim_param:  # a name that the exporter made up
                length.dim_param = 'batch'
    entry = written.metadata_props.add()
    entry.key, entry.value = METADATA, json.dumps(metadata)
    onnx.save(written, path)
    onnx.checker.check_model(path, full_check=True)


def fingerprint(model: nn.Module) -> str:
    """Return a hash of the names, shapes and values of all weights."""
    digest = hashlib.sha256()
    for name, weight in model.state_dict().items():
        digest.update(f'{name}{tuple(weight.shape)}'.encode())
        digest.update(weight.detach().cpu().numpy().tobytes())
    return digest.hexdigest()


def is_onnx(path: Optional[str]) -> TypeGuard[str]:
    """Whether a path has the suffix ``.onnx``."""
    return path is not None and osp.splitext(path)[1] == '.onnx'
