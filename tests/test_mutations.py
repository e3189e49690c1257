"""Files damaged at random: they load rightly, or are refused as documented; nothing else.

``FASTGD_FUZZ=10000`` makes 5,000 of them. A kind of file is one line in `FILES`.
"""

import io
import os
import tracemalloc
import zipfile

import numpy as np
import pytest
from compare import fit_anyway
from test_model_files import is_same

import fastgd

MUTATIONS = int(os.environ.get("FASTGD_FUZZ", "300")) // 2
SEED = int.from_bytes(os.urandom(4)) if "FASTGD_FUZZ" in os.environ else 20
BYTES = 32 << 20  # most that a file may take, whatever it says of its size


def moments(named):
    X = np.arange(12.0).reshape(6, 2) ** 2
    if named:
        pandas = pytest.importorskip("pandas")
        X = pandas.DataFrame(X, columns=["a", "length"])
    return fastgd.Moments.of(X, np.column_stack([np.arange(6.0), np.ones(6)]))


def model(backend):
    X = np.arange(18.0).reshape(6, 3) ** 2 % 7
    return fit_anyway(X, X @ [1, 2, -1] + 0.5, method="gd", max_iter=40, backend=backend)


# What writes one, what reads it, and whether two are the same.
FILES = {
    "moments": (lambda: moments(False), fastgd.Moments.load, lambda a, b: a == b),
    "moments-names": (lambda: moments(True), fastgd.Moments.load, lambda a, b: a == b),
    "model": (lambda: model("numpy"), fastgd.load, is_same),
}


def flip(rng, data):
    place = rng.integers(len(data))
    data[place] ^= 1 << rng.integers(8)


def truncate(rng, data):
    del data[rng.integers(len(data)) :]


def overwrite(rng, data):
    start = rng.integers(len(data))
    data[start : start + rng.integers(1, 9)] = rng.bytes(rng.integers(1, 9))


def swap(rng, data):
    size = int(rng.integers(1, 1 + len(data) // 3))
    a, b = sorted(rng.integers(0, len(data) - size, 2))
    data[a : a + size], data[b : b + size] = data[b : b + size], data[a : a + size]


def repeat(rng, data):
    start, size = rng.integers(len(data)), rng.integers(1, 200)
    data[start:start] = data[start : start + size]


def digit(rng, data):
    """Another digit for one there is: of a number, a size, a version."""
    places = [i for i, byte in enumerate(data) if chr(byte).isdigit()]
    if places:
        data[rng.choice(places)] = ord("0") + rng.integers(10)


CHANGES = (flip, truncate, overwrite, swap, repeat, digit, digit)


def within_members(rng, data):
    """A change of a member of an archive, whose checksum is then right."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: bytearray(archive.read(name)) for name in archive.namelist()}
    for content in members.values():
        if rng.random() < 0.3 and content:
            CHANGES[rng.integers(len(CHANGES))](rng, content)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, bytes(content))
    return bytearray(file.getvalue())


def damaged(rng, whole):
    """`whole` with some damage, inside of its members, outside or both."""
    data = bytearray(whole)
    if whole.startswith(b"PK") and rng.random() < 0.5:
        data = within_members(rng, data)
        if rng.random() < 0.7:
            return data
    for _ in range(rng.integers(1, 4)):
        if data:
            CHANGES[rng.integers(len(CHANGES))](rng, data)
    return data


def reread(load, path):
    """What `load` returns, or the ValueError that it raises."""
    try:
        return load(path)
    except ValueError as error:
        return error


@pytest.mark.parametrize("kind", FILES)
def test_a_damaged_file_is_read_rightly_or_refused(kind, tmp_path):
    make, load, same = FILES[kind]
    saved = make()
    path = tmp_path / "file"
    saved.save(path)
    whole = path.read_bytes()
    rng = np.random.default_rng(SEED)
    refused = 0
    tracemalloc.start()
    for number in range(MUTATIONS // len(FILES) + 1):
        path.write_bytes(damaged(rng, whole))
        where = f"mutation {number} of seed {SEED}"
        found = reread(load, path)
        if isinstance(found, ValueError):
            refused += 1
            assert str(path) in str(found), where
            assert "\n" not in str(found), where
            assert len(str(found)) < 1000, where
        else:
            # A number that was changed to another number is one that was saved.
            found.save(path)
            assert same(load(path), found), where
    assert refused > MUTATIONS // len(FILES) // 3
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < BYTES


def test_what_a_damaged_archive_names_is_not_told_at_length(tmp_path):
    path = tmp_path / "file"
    moments(False).save(path)
    data = bytearray(path.read_bytes())
    data[26:28] = (len(data) - 100).to_bytes(2, "little")  # how long the first member's name is
    path.write_bytes(data)
    error = reread(fastgd.Moments.load, path)
    assert isinstance(error, ValueError)
    assert len(str(error)) < len(str(path)) + 300


def test_a_name_of_what_are_no_characters_is_refused(tmp_path):
    path = tmp_path / "moments.npz"
    moments(True).save(path)
    with np.load(path) as file:
        fields = dict(file)
    fields["feature_names"].view("u4")[0] = 0x7FFFFFFF
    np.savez(path, **fields)
    with pytest.raises(ValueError, match="names of features are not text"):
        fastgd.Moments.load(path)
