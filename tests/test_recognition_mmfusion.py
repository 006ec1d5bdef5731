"""Gated attention by its formulas, the fused network's sizes and gradients, one run on real clips."""

import shutil

import numpy as np
import pytest
import torch
from conftest import synthetic_burst
from emogator_fixtures import real_clips
from torch import nn
from transformers_fixtures import tiny_convnext, tiny_hubert

from vocalburst.eval.recogniser import pad_features
from vocalburst.eval.recognition.estimator import RecognitionModel
from vocalburst.eval.recognition.gated_attention import GatedHead, GatedSelfAttention, UnifiedAttentionBlock
from vocalburst.eval.recognition.mmfusion import MmFusion, MmFusionRecipe
from vocalburst.eval.recognition.network import Network
from vocalburst.eval.recognition.outputs import Outputs
from vocalburst.eval.recognition.pretrained_network import build_network, read_network
from vocalburst.eval.recognition.registry import build
from vocalburst.eval.tasks.registry import TASKS
from vocalburst.gen.data.errors import MissingModelError

# A step of 80 ms and narrow parts: a clip of 5 s costs little.
HUBERT = {
    "conv_dim": (8, 16, 16), "conv_kernel": (16, 10, 8), "conv_stride": (16, 10, 8),
    "hidden_dropout": 0.0, "attention_dropout": 0.0,
    "activation_dropout": 0.0,
}  # fmt: skip
NARROW = {
    "lstm_dim": 8, "head_channels": 6, "gate_channels": 5, "hidden_dim": 32, "dropout": 0.0, "normalise": True,
}  # fmt: skip


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pretrained")
    return {
        "hubert": str(tiny_hubert(folder / "hubert", **HUBERT)),
        "convnext": str(tiny_convnext(folder / "convnext", patch_size=8)),
    }


@pytest.fixture
def body(folders):
    networks = {kind: read_network(folder, kind)[0] for kind, folder in folders.items()}
    return MmFusion(MmFusionRecipe(**NARROW), **networks).eval()


def linear(layer, x):
    return x @ layer.weight.detach().double().numpy().T + layer.bias.detach().double().numpy()


def reference_head(head, x):
    """The three formulas of section 3.5, place by place, for x [S, Z]."""
    q, k, v = (linear(layer, x) for layer in (head.query, head.key, head.value))
    m = 1 / (1 + np.exp(-linear(head.gate, linear(head.gate_query, q) * linear(head.gate_key, k))))
    out = np.zeros_like(v)
    for i in range(len(x)):
        scores = np.array([(q[i] * m[i, 0]) @ (k[j] * m[j, 1]) for j in range(len(x))]) / np.sqrt(q.shape[1])
        weights = np.exp(scores) / np.exp(scores).sum()
        out[i] = sum(w * row for w, row in zip(weights, v, strict=True))
    return out


def test_gated_head_against_its_formulas():
    torch.manual_seed(0)
    head = GatedHead(12, 5, 4)
    x = 3 * torch.randn(2, 7, 12)
    expected = np.stack([reference_head(head, clip.double().numpy()) for clip in x])
    np.testing.assert_allclose(head(x).detach(), expected, atol=1e-5)


def test_a_place_that_leaves_the_answers_is_heard_as_any_average():
    """M_k = 0 makes a key of zeros; M_q = 0 makes a place ask nothing, so it hears the plain mean of all values."""
    torch.manual_seed(0)
    head = GatedHead(6, 5, 4)
    with torch.no_grad():
        head.gate.weight.zero_()
        head.gate.bias.copy_(torch.tensor([-50.0, 50.0]))
    x = torch.randn(1, 9, 6)
    expected = head.value(x).mean(dim=1, keepdim=True).expand(1, 9, 5)
    torch.testing.assert_close(head(x), expected, atol=1e-5, rtol=1e-4)


def test_heads_stand_side_by_side_before_the_linear_map():
    torch.manual_seed(0)
    attention = GatedSelfAttention(12, heads=3, n_out=4, n_gate=4)
    x = torch.randn(2, 7, 12)
    heads = np.stack(
        [np.concatenate([reference_head(h, c.double().numpy()) for h in attention.heads], axis=1) for c in x]
    )
    np.testing.assert_allclose(attention(x).detach(), linear(attention.linear, heads), atol=1e-5)


def test_block_against_its_description():
    """Embed, set side by side, attend, add, norm over places and channels; 4 d_z, ReLU, d_z, add, norm."""
    torch.manual_seed(0)
    block = UnifiedAttentionBlock(9, 3, 4, 4, dropout=0.5, inputs=(5, 2)).eval()
    x, y = torch.randn(2, 6, 5), torch.randn(2, 3, 2)

    def norm(z):
        z = z - z.mean(dim=(1, 2), keepdim=True)
        return z / (z.square().mean(dim=(1, 2), keepdim=True) + 1e-5).sqrt()

    with torch.no_grad():
        z = torch.cat([block.embeddings[0](x), block.embeddings[1](y)], dim=1)
        z = norm(z + block.attention(z))
        first, _, _, second = block.feed_forward
        assert first.out_features == 4 * 12
        torch.testing.assert_close(block(x, y), norm(z + second(first(z).relu())), atol=1e-5, rtol=1e-5)
    assert block.attention_norm.weight.shape == (9, 12)
    assert not UnifiedAttentionBlock(9, 3, 4, 4, dropout=0.5).embeddings
    with pytest.raises(RuntimeError):
        block(x[:, :5], y)  # another length than the norms know


def test_sizes_of_the_paper(monkeypatch):
    """36, 313 and 249 places of 1024, 512 and 768 channels; 598 of 144; about 185 million parameters."""
    monkeypatch.setattr(
        "vocalburst.eval.recognition.mmfusion.Mfcc", nn.Identity
    )  # it has to compute its filters
    convnext = {"model_type": "convnext", "hidden_sizes": [128, 256, 512, 1024], "depths": [3, 3, 27, 3]}
    with torch.device("meta"):
        networks = {"hubert": build_network({"model_type": "hubert"}), "convnext": build_network(convnext)}
        body = MmFusion(MmFusionRecipe(), **networks).eval()
        modalities = body.modalities(
            torch.empty(2, 128, 313), torch.empty(2, 40, 313), torch.empty(2, 80_000)
        )
        fused = body.fuse(*modalities)
        embedding = body.hidden(fused.mean(dim=1))
    assert [tuple(x.shape[1:]) for x in modalities] == [(36, 1024), (313, 512), (249, 768)]
    assert body.places == (36, 313, 249) and fused.shape == (2, 598, 144) and embedding.shape == (2, 128)
    assert [head.query.out_features for block in body.blocks for head in block.attention.heads] == [48] * 6
    assert not body.blocks[1].embeddings
    millions = sum(p.numel() for p in Network(body, Outputs(TASKS["loopq"], 128)).parameters()) / 1e6
    assert abs(millions - 185) < 2.5
    recipe = build("mmfusion", "loopq").settings
    assert (recipe.optimizer, recipe.lr, recipe.lr_pretrained, recipe.weight_decay) == (
        "adamw",
        1e-5,
        1e-6,
        1e-6,
    )
    assert (recipe.rho, recipe.patience, recipe.epochs, recipe.batch_size) == (10, 5, 30, 16)


def test_a_clip_is_five_seconds_whoever_pads_it(body):
    model = build("mmfusion", "emogator-30", **NARROW)
    waves = [model.features(synthetic_burst(k, s)) for k, s in enumerate((0.3, 1.1, 7.0))]
    assert len(waves[2]) == 80_000
    with torch.no_grad():
        batch = body(*pad_features(waves))
        alone = torch.cat([body(wave[None], None) for wave in waves])
    torch.testing.assert_close(batch, alone, atol=1e-5, rtol=1e-4)
    assert (alone[0] - alone[1]).abs().max() > 1e-3


def test_all_modalities_are_heard_and_learn(body):
    model = build("mmfusion", "emogator-30", **NARROW)
    network = Network(body, Outputs(model.task, body.dim)).train()
    x, lengths = pad_features([model.features(synthetic_burst(k, 0.5, 150.0 + 60 * k)) for k in range(4)])
    model.fit_scale(body, list(x))
    _, raw = network(x, lengths)
    model.loss(network, raw, torch.arange(4.0)[:, None], None).backward()
    names = dict(network.named_parameters())
    frozen = {name for name, parameter in names.items() if parameter.grad is None}
    assert frozen and all(
        name.startswith(("body.hubert.network.feature_", "body.hubert.network.masked_spec"))
        for name in frozen
    )
    # A key's bias adds the same to all scores of a question where nothing gates it.
    still = {n for n in names.keys() - frozen if not names[n].grad.abs().sum() > 0}
    assert {n for n in still if not n.endswith("k_proj.bias")} == set()
    pretrained, new = model.parameter_groups(network)
    assert (pretrained["lr"], new["lr"]) == (1e-6, 1e-5)
    assert len(pretrained["params"]) + len(new["params"]) == len(names) - len(frozen)
    assert {id(p) for p in body.convnext.parameters()} <= {id(p) for p in pretrained["params"]}


def test_what_a_user_gets_wrong(folders):
    waves, y = [synthetic_burst(k) for k in range(30)], np.arange(30)
    with pytest.raises(
        MissingModelError, match=r"^mmfusion starts from pretrained networks: set `hubert` to"
    ):
        build("mmfusion", "emogator-30").fit(waves, y)
    with pytest.raises(MissingModelError, match=r"such as facebook/convnext-base-224$"):
        build("mmfusion", "emogator-30", hubert=folders["hubert"]).fit(waves, y)
    with pytest.raises(MissingModelError, match=r"expected a model_type of convnext, got 'hubert'$"):
        build("mmfusion", "emogator-30", hubert=folders["hubert"], convnext=folders["hubert"]).fit(waves, y)


def test_learns_real_clips_and_needs_the_folders_no_more(folders, tmp_path):
    waves, classes = real_clips()
    own = {kind: shutil.copytree(folder, tmp_path / kind) for kind, folder in folders.items()}
    sizes = {**NARROW, "heads": 1, "head_channels": 24, "lstm_dim": 16, "hidden_dim": 64}
    settings = {**sizes, "lr": 1e-2, "lr_pretrained": 3e-3, "epochs": 9, "patience": 9}
    model = build(
        "mmfusion", "emogator-30", **settings, **{kind: str(folder) for kind, folder in own.items()}
    )
    model.fit(waves, classes)
    losses = [record["train_loss"] for record in model.training_["history"]]
    assert losses[-1] < losses[0] - 1
    assert (model.predict(waves)[:, 0] == classes).mean() > 0.2  # six times as often as by chance, and rising
    model.save(tmp_path / "run")
    for folder in own.values():
        shutil.rmtree(folder)
    again = RecognitionModel.load(tmp_path / "run")
    np.testing.assert_array_equal(again.predict_proba(waves[:3]), model.predict_proba(waves[:3]))
    assert again.preprocessing == model.preprocessing and again.preprocessing.endswith("_unit-variance")
    assert set(again.training_["started_from"]) == {"hubert", "convnext"}
