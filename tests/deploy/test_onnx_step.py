# Copyright (c) The mmlcr authors. All rights reserved.
"""The exported ONNX step against PyTorch's."""
import copy
from pathlib import Path
from typing import Any, Callable, List

import numpy as np
import pytest
import torch
from mmengine.config import Config

from mmlcr.models.state import LCRState
from mmlcr.streaming import StreamRecognizer
from mmlcr.streaming.step import TorchStep

onnx = pytest.importorskip('onnx')
pytest.importorskip('onnxruntime')
pytest.importorskip('onnxscript')
from mmlcr.deploy import OnnxStep, export_step  # noqa: E402
from mmlcr.deploy.onnx_step import flatten_state  # noqa: E402

# one worker of xdist runs what shares an exported step
pytestmark = pytest.mark.xdist_group('onnx')
CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
# what this project promises of scores and states after 64 steps
TOLERANCE = 1e-4
STEPS = 64
# the options that change the graph; 51 tokens are two chunks of the operator
MODELS = {
    'jester': ('lcr_jester', dict(embed_dims=24, num_layers=2)),
    'weizmann': ('lcr_weizmann', {}),
    'paper': ('lcr_motion',
              dict(temporal_shift=False, stem='patch', cell='paper',
                   stem_input='frame', edge_prompt=False, readout='cls')),
    'vrwkv6': ('lcr_k400', dict(embed_dims=24, num_layers=2, init_cfg=None)),
}


@pytest.fixture(scope='module', params=MODELS)
def exported(request: pytest.FixtureRequest,
             tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A recognizer, the path of its exported step, and its input size."""
    name, options = MODELS[request.param]
    config = Config.fromfile(CONFIGS / f'{name}.py')
    config.model.backbone.update(options)
    config.model.cls_head.in_channels = 2 * config.model.backbone.embed_dims
    torch.manual_seed(2)
    stream = StreamRecognizer(config)
    for weight in stream.run_step.model.parameters():
        with torch.no_grad():
            weight.add_(0.05 * torch.randn_like(weight))
    height, width = stream.views(np.zeros((80, 80, 3), np.uint8)).shape[-2:]
    path = tmp_path_factory.mktemp(name) / 'step.onnx'
    export_step(stream.run_step.model, str(path), height, width,
                dict(model='random', classes=stream.classes))
    return stream, path, (height, width)


def draw(B: int, size: tuple) -> torch.Tensor:
    return torch.randint(0, 256, (B, 4, 1, *size), dtype=torch.uint8)


@pytest.mark.parametrize('B', [1, 4])
def test_64_steps_from_state_to_state(B: int, exported: Any,
                                      relative_error: Callable) -> None:
    """Compare all scores, and the last state, with PyTorch's.

    Where the paper's cell is large, rounding may flip a sign, and PyTorch's h
    itself deviates from float64 by more than the tolerance: then ONNX's h may
    deviate twice as much.
    """
    stream, path, size = exported
    model = copy.deepcopy(stream.run_step.model).double()
    run, exact = OnnxStep(str(path), 1), TorchStep(model)
    states: List[Any] = [None] * 3
    for _ in range(STEPS):
        frames = draw(B, size)
        scores, states[0] = stream.run_step(frames, states[0])
        same, states[1] = run(frames, states[1])
        _, states[2] = exact(frames, states[2])
        assert relative_error(same, scores) < TOLERANCE
    for own, found, expected in zip(*map(flatten_state, states)):
        assert relative_error(found, expected) < max(
            TOLERANCE, 2 * relative_error(own, expected))


def test_one_stream_of_a_batch_restarts(exported: Any,
                                        relative_error: Callable) -> None:
    """``first`` is set for it, and its state is zero."""
    stream, path, size = exported
    run = OnnxStep(str(path), 1)
    frames = [draw(2, size) for _ in range(3)]
    _, state = run(frames[0], None)
    known = [t.clone() for t in flatten_state(state)]
    for tensor, shape in zip(known, run.states):
        tensor.select(shape.shape.index('batch'), 1).zero_()
    inputs = {node.name: t.numpy() for node, t in zip(run.states, known)}
    scores, *_ = run.session.run(None, {
        'frames': frames[1][:, :, 0].numpy(),
        'first': np.array([False, True]), **inputs})
    expected, _ = stream.run_step(frames[1], state)
    fresh, _ = stream.run_step(frames[1], None)
    assert relative_error(torch.from_numpy(scores[0]), expected[0]) < TOLERANCE
    assert relative_error(torch.from_numpy(scores[1]), fresh[1]) < TOLERANCE


def test_onnxruntime_resumes_a_stream(exported: Any, make_frames: Callable,
                                      monkeypatch: pytest.MonkeyPatch
                                      ) -> None:
    """PyTorch runs the first frames, onnxruntime the others."""
    stream, path, _ = exported
    config = stream.run_step.model.cfg
    other = StreamRecognizer(config, str(path), context=stream.context)
    monkeypatch.setattr(stream, 'model_id', 'random')
    stream.reset()
    frames = make_frames(6, 80, 96)
    for frame in frames[:3]:
        stream.step(frame)
    other.load_state_dict(stream.state_dict())
    for frame in frames[3:]:
        expected, found = stream.step(frame), other.step(frame)
        np.testing.assert_allclose(found.all_scores, expected.all_scores,
                                   TOLERANCE)
        assert found.labels[0] == expected.labels[0]
    stream.reset()


def test_other_graphs_and_sizes_are_refused(exported: Any,
                                            tmp_path: Path) -> None:
    stream, path, (height, width) = exported
    run = OnnxStep(str(path))
    with pytest.raises(ValueError, match=rf'\(4, {height}, {width}\)'):
        run(draw(1, (height, width + 8)), None)
    text, other = tmp_path / 'text.onnx', tmp_path / 'other.onnx'
    text.write_text('no graph')
    with pytest.raises(ValueError, match='text.onnx'):
        OnnxStep(str(text))
    graph = onnx.load(str(path))
    del graph.metadata_props[:]
    onnx.save(graph, str(other))
    with pytest.raises(ValueError, match='other.onnx: not a step'):
        OnnxStep(str(other))
    with pytest.raises(ValueError, match='patch size'):
        export_step(stream.run_step.model, 'x.onnx', height + 1, width, {})


def test_the_batch_is_dynamic_and_the_state_has_names(exported: Any) -> None:
    stream, path, (height, width) = exported
    graph = onnx.load(str(path)).graph
    shapes = {
        value.name: [size.dim_param or size.dim_value
                     for size in value.type.tensor_type.shape.dim]
        for value in graph.input
    }
    assert shapes['frames'] == ['batch', 4, height, width]
    assert shapes['first'] == ['batch']
    assert all('batch' in shape for shape in shapes.values())
    names = [value.name for value in graph.output]
    assert names == ['scores', *(f'{n}_after' for n in list(shapes)[2:])]
    state = stream.run_step(draw(1, (height, width)), None)[1]
    assert isinstance(state, LCRState)
