"""The guided teacher: its formula row by row, against the guidance that clips are sampled with."""

from dataclasses import replace

import pytest
import torch

from vocalburst.gen.data.errors import InputDataError
from vocalburst.gen.data.mel import MelConfig
from vocalburst.gen.models.conditioning import SCALARS, Condition
from vocalburst.gen.models.normalizer import MelNormalizer
from vocalburst.gen.models.outline import OutlineEncoder
from vocalburst.gen.models.transformer import BurstTransformer
from vocalburst.gen.sampling import guided
from vocalburst.gen.teacher import Teacher, check_same, check_same_part
from vocalburst.gen.train_config import TeacherSection

SIZES = {"voices": ["a"], "n_mels": 8, "patch": 2, "dim": 16, "n_layers": 1, "n_heads": 2, "bottleneck": 8}


def denoiser(seed: int, **changes) -> BurstTransformer:
    torch.manual_seed(seed)
    model = BurstTransformer(**{"emotions": ["awe", "fear"], **SIZES, **changes}).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model


def batch(sigmas: list[float], known: list[bool]) -> tuple:
    generator = torch.Generator().manual_seed(1)
    n = len(sigmas)
    condition = Condition(
        emotion=torch.eye(2)[torch.arange(n) % 2],
        emotion_known=torch.tensor(known)[:, None].expand(n, 2),
        voice=torch.zeros(n, dtype=torch.long),
        country=torch.full((n,), -1),
        scalars=torch.full((n, len(SCALARS)), float("nan")),
        augmentation=torch.zeros(n, 2),
        outline=torch.zeros(n, 0),
        span=torch.zeros(n, 2),
    )
    x = torch.randn(n, 8, 6, generator=generator)
    return x, torch.tensor(sigmas), condition, torch.ones(n, 6, dtype=torch.bool)


def test_rows_are_guided_as_clips_are_sampled():
    model = denoiser(0)
    x, sigma, condition, mask = batch([0.9, 0.8, 0.5, 0.1], [True] * 4)
    taught = Teacher(model, 2.5, (0.75, 1.0))(x, sigma, condition, mask)
    for row in range(4):
        one = torch.tensor([row])
        alone = guided(model, condition.take(one), 2.5, mask=mask[one], interval=(0.75, 1.0))(
            x[one], sigma[one]
        )
        torch.testing.assert_close(taught[one], alone, rtol=1e-4, atol=1e-5)
    plain = model(x, sigma, condition, mask)
    assert (taught[:2] - plain[:2]).abs().max() > 1e-3  # inside the interval
    assert torch.equal(taught[2:], plain[2:])


def test_without_an_emotion_there_is_nothing_to_guide():
    model = denoiser(0)
    arguments = batch([0.9, 0.9], [False, True])
    taught, plain = Teacher(model, 3.0, (0.0, 1.0))(*arguments), model(*arguments)
    assert torch.equal(taught[0], plain[0])
    assert not torch.equal(taught[1], plain[1])


def test_each_emotion_may_have_its_own_guidance_and_a_mix_has_its_share_of_both():
    model = denoiser(0)
    x, sigma, condition, mask = batch([0.9] * 4, [True, True, True, False])
    condition = replace(condition, emotion=torch.tensor([[1.0, 0.0], [0.0, 0.5], [0.3, 0.1], [1.0, 0.0]]))
    teacher = Teacher(model, torch.tensor([0.5, 2.0]), (0.0, 1.0))
    torch.testing.assert_close(
        teacher.guidance_of(condition), torch.tensor([0.5, 2.0, 0.75 * 0.5 + 0.25 * 2.0, 1.0])
    )
    taught = teacher(x, sigma, condition, mask)
    for row, guidance in enumerate((0.5, 2.0, 0.875, 1.0)):
        one = torch.tensor([row])
        arguments = x[one], sigma[one], condition.take(one), mask[one]
        torch.testing.assert_close(
            taught[one], Teacher(model, guidance, (0.0, 1.0))(*arguments), rtol=1e-4, atol=1e-5
        )


def test_a_guidance_of_an_emotion_that_the_teacher_does_not_know_is_refused(tmp_path):
    denoiser(0).save_pretrained(tmp_path / "transformer")
    normalizer(1.0).save_pretrained(tmp_path / "normalizer")
    (tmp_path / "model_index.json").write_text("{}")
    settings = TeacherSection(checkpoint=str(tmp_path), guidance=2.0, guidance_of={"fear": 0.5})
    loaded = Teacher.load(settings, denoiser(1), normalizer(1.0))
    assert loaded.guidance.tolist() == [2.0, 0.5]
    wrong = TeacherSection(checkpoint=str(tmp_path), guidance_of={"joy": 1.0})
    with pytest.raises(InputDataError, match=r"guidance_of names emotions .* not trained on: joy$"):
        Teacher.load(wrong, denoiser(1), normalizer(1.0))


def test_autoguidance_is_added_to_guidance():
    model, weak = denoiser(0), denoiser(7)
    arguments = x, sigma, condition, mask = batch([0.9, 0.2], [True, True])
    taught = Teacher(model, 2.0, (0.5, 1.0), weak, 0.5)(*arguments)
    strong = model(*arguments)
    expected = strong + 0.5 * (strong - weak(*arguments))
    expected[0] += (strong - model(x, sigma, condition.without_emotion(), mask))[0]
    torch.testing.assert_close(taught, expected, rtol=1e-4, atol=1e-5)


def normalizer(mean: float) -> MelNormalizer:
    own = MelNormalizer(MelConfig().to_dict())
    own.mean.fill_(mean)
    return own


def test_a_student_of_another_space_is_refused():
    check_same("t", denoiser(0), denoiser(1))
    with pytest.raises(
        InputDataError, match=r"^the teacher t: its voices are \['b'\], the student has \['a'\]$"
    ):
        check_same("t", denoiser(0, voices=["b"]), denoiser(1))
    check_same_part("t", normalizer(1.0), normalizer(1.0), "normalises mels")
    for other in (normalizer(2.0), None, OutlineEncoder(8, 2)):
        with pytest.raises(
            InputDataError, match=r"^the teacher t normalises mels in its own way; start the student"
        ):
            check_same_part("t", normalizer(1.0), other, "normalises mels")


def test_autoguidance_stays_in_its_interval():
    model, weak = denoiser(0), denoiser(7)
    arguments = batch([0.9, 0.7, 0.2], [True] * 3)
    taught = Teacher(model, 1.0, (0.0, 1.0), weak, 0.5, (0.6, 0.8))(*arguments)
    everywhere = Teacher(model, 1.0, (0.0, 1.0), weak, 0.5)(*arguments)
    strong = model(*arguments)
    assert torch.equal(taught[0], strong[0]) and torch.equal(taught[2], strong[2])
    torch.testing.assert_close(taught[1], everywhere[1], rtol=1e-4, atol=1e-5)
    assert (taught[1] - strong[1]).abs().max() > 1e-3


def test_a_teacher_that_hears_no_outlines_teaches_one_that_does():
    teacher, arguments = denoiser(0), batch([0.9, 0.2], [True, True])
    x, sigma, condition, mask = arguments
    told = replace(condition, outline=torch.randn(2, 3))
    assert torch.equal(
        Teacher(teacher, 1.5, (0.0, 1.0))(x, sigma, told, mask), Teacher(teacher, 1.5, (0.0, 1.0))(*arguments)
    )
