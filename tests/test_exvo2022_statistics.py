"""The reader of the official pickles: right numbers, nothing executed, spaces kept apart."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from conftest import SHARED

from vocalburst.eval.exvo2022_statistics import DIM, read_official, read_official_folder
from vocalburst.eval.frechet import frechet_distance
from vocalburst.gen.data.emotions import EXVO_10
from vocalburst.gen.data.errors import InputDataError

OFFICIAL = SHARED / "data" / "exvo2022_fid"
official = pytest.mark.skipif(
    not OFFICIAL.is_dir(),
    reason="the official ExVo 2022 statistics (CC BY-NC) are not part of the repository",
)


def arrays(seed: int = 0) -> dict[str, np.ndarray]:
    x = np.random.default_rng(seed).standard_normal((300, DIM))
    return {"mu": x.mean(axis=0), "sigma": np.cov(x, rowvar=False)}


def write(path: Path, content: object, protocol: int = 4) -> Path:
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    return path


class Program:
    """Unpickled the ordinary way, this creates a file."""

    def __init__(self, marker: Path):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


@pytest.mark.parametrize("protocol", [3, 4])
def test_a_file_as_the_organisers_write_it_is_read_to_the_bit(tmp_path, protocol):
    content = arrays()
    statistics = read_official(write(tmp_path / "Awe_Val_wav.pkl", content, protocol), "wav")
    np.testing.assert_array_equal(statistics.mean, content["mu"])
    np.testing.assert_array_equal(statistics.cov, content["sigma"])
    assert statistics.n is None
    assert statistics.identity.evaluator == "exvo2022-wav"
    assert statistics.identity.split == "val"


def test_the_file_of_older_numpy_is_read_too(tmp_path):
    path = write(tmp_path / "Awe_webm.pkl", arrays())
    path.write_bytes(path.read_bytes().replace(b"\x16numpy._core.multiarray", b"\x15numpy.core.multiarray"))
    data = path.read_bytes()  # the frame is now a byte shorter
    path.write_bytes(data[:3] + (len(data) - 11).to_bytes(8, "little") + data[11:])
    np.testing.assert_array_equal(read_official(path, "webm").mean, arrays()["mu"])


def test_column_order_and_byte_order_are_kept(tmp_path):
    content = arrays()
    odd = {"mu": content["mu"].astype(">f8"), "sigma": np.asfortranarray(content["sigma"])}
    odd["sigma"][0, 1] += 1e-12  # not quite symmetric, so that a transposition shows
    statistics = read_official(write(tmp_path / "Awe_webm.pkl", odd), "webm")
    np.testing.assert_array_equal(statistics.mean, content["mu"])
    np.testing.assert_array_equal(statistics.cov, odd["sigma"])


@pytest.mark.parametrize("place", ["alone", "beside", "inside"])
def test_a_program_is_refused_and_does_not_run(tmp_path, place):
    marker = tmp_path / "it-ran"
    program = Program(marker)
    content = {
        "alone": program,
        "beside": {**arrays(), "extra": program},
        "inside": {"mu": np.array([program], dtype=object), "sigma": np.eye(DIM)},
    }[place]
    path = write(tmp_path / "Awe_webm.pkl", content)
    with pytest.raises(InputDataError, match=r"Awe_webm\.pkl: is refused .*mkdir"):
        read_official(path, "webm")
    assert not marker.exists()
    pickle.loads(path.read_bytes())  # the attack is a real one: the ordinary way runs it
    assert marker.exists()


@pytest.mark.parametrize(
    "name", ["builtins.eval", "builtins.getattr", "numpy.load", "numpy.core.multiarray.fromfile", "os.system"]
)
def test_every_other_name_is_refused_even_of_numpy(tmp_path, name):
    module, attribute = name.rsplit(".", 1)
    path = tmp_path / "Awe_webm.pkl"
    path.write_bytes(f"c{module}\n{attribute}\n.".encode())
    with pytest.raises(InputDataError, match=f"names {name}"):
        read_official(path, "webm")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "expected a dict"),
        ({"mu": np.zeros(DIM)}, "expected the arrays mu and sigma, got mu"),
        ({**arrays(), "mu": [0.0] * DIM}, "mu: expected a numpy array"),
        ({**arrays(), "mu": np.zeros(DIM, np.float32)}, "mu: expected an array of float64"),
        ({**arrays(), "mu": np.array(["a"], dtype=object)}, "mu: expected an array of float64"),
        ({**arrays(), "mu": np.zeros(DIM - 1)}, r"expected mu \[256\]"),
        ({**arrays(), "mu": np.full(DIM, np.nan)}, r"Awe_webm\.pkl: expected finite"),
        ({**arrays(), "sigma": np.triu(np.ones((DIM, DIM)))}, "symmetric"),
    ],
)
def test_other_contents_are_refused(tmp_path, content, message):
    with pytest.raises(InputDataError, match=message):
        read_official(write(tmp_path / "Awe_webm.pkl", content), "webm")


def test_damaged_files_are_refused(tmp_path):
    path = write(tmp_path / "Awe_webm.pkl", arrays())
    whole = path.read_bytes()
    for damaged in (b"", b"\x80", whole[:1000], whole[:-1], b"PK\x03\x04" + whole):
        path.write_bytes(damaged)
        with pytest.raises(InputDataError, match=r"Awe_webm\.pkl"):
            read_official(path, "webm")
    with pytest.raises(InputDataError, match=r"absent\.pkl"):
        read_official(tmp_path / "absent.pkl", "webm")
    path.write_bytes(bytes(17 * 2**20))
    with pytest.raises(InputDataError, match="larger than"):
        read_official(path, "webm")


def test_data_that_do_not_fill_their_shape_are_refused(tmp_path):
    path = write(tmp_path / "Awe_webm.pkl", arrays())
    path.write_bytes(path.read_bytes().replace(b"M\x00\x01", b"M\x00\x02"))
    with pytest.raises(InputDataError, match="do not fill"):
        read_official(path, "webm")


def test_the_two_spaces_are_kept_apart(tmp_path):
    wav = write(tmp_path / "Awe_Val_wav.pkl", arrays())
    webm = write(tmp_path / "Awe_webm.pkl", arrays(1))
    with pytest.raises(InputDataError, match="webm space, expected wav"):
        read_official(webm, "wav")
    with pytest.raises(InputDataError, match="unknown space 'mp3'"):
        read_official(webm, "mp3")
    with pytest.raises(InputDataError, match=r"exvo2022-wav.*exvo2022-webm"):
        frechet_distance(read_official(wav, "wav"), read_official(webm, "webm"))


def test_a_folder_gives_the_emotions_of_one_space_in_the_official_order(tmp_path):
    for name in ("Fear_webm", "Awe_webm", "Awe_Val_wav", "All_webm", "Triumph_Val"):
        write(tmp_path / f"{name}.pkl", arrays())
    assert list(read_official_folder(tmp_path, "webm")) == ["awe", "fear"]
    assert list(read_official_folder(tmp_path, "wav")) == ["awe"]
    assert read_official(tmp_path / "Triumph_Val.pkl", "wav").dim == DIM  # its name tells no space
    write(tmp_path / "Awe_wav.pkl", arrays())
    with pytest.raises(InputDataError, match=r"both Awe_Val_wav\.pkl and Awe_wav\.pkl"):
        read_official_folder(tmp_path, "wav")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputDataError, match="holds no official statistics of the wav space"):
        read_official_folder(tmp_path / "empty", "wav")


@official
def test_the_official_files_are_read_as_the_ordinary_unpickler_reads_them():
    for space, missing in (("wav", set()), ("webm", {"triumph"})):
        statistics = read_official_folder(OFFICIAL, space)
        assert set(EXVO_10) - set(statistics) == missing
        suffix = {"wav": "Val_wav", "webm": "webm"}[space]
        for emotion, own in statistics.items():
            with (OFFICIAL / f"{emotion.title()}_{suffix}.pkl").open("rb") as file:
                plain = pickle.load(file)  # the organisers' own files, whose checksums are known
            np.testing.assert_array_equal(own.mean, plain["mu"])
            np.testing.assert_array_equal(own.cov, plain["sigma"])
            assert own.reliable == (emotion != "triumph")
