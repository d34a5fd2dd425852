"""Promises of the pack codec."""

from __future__ import annotations

import hashlib
import io
import json
import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly_models.exceptions import PackError, PackRejectedError, PackTruncatedError
from anomaly_models.pack import MANIFEST, MAX_MODELS, EncodedPack, Pack, decode, encode, npy_header


def a_pack(models: int = 3) -> Pack:
    values = np.arange(models * 8, dtype=np.float32).reshape(models, 4, 2)
    return Pack(
        "autoencoder",
        {"layers": [{"type": "dense", "units": 2}], "window": 4},
        {"0.kernel": values, "center": np.ones((models, 1), np.float32)},
        tuple({"entity": {"container": f"c{i}"}, "seed": i} for i in range(models)),
    )


def read(encoded: EncodedPack, **changed: bytes) -> Pack:
    """Decode with the files in ``changed`` (file name, dots as __) in place of the encoded ones."""
    files = {**encoded.files, **{name.replace("__", "."): data for name, data in changed.items()}}
    return decode(encoded.digest, files[MANIFEST], lambda file, _: memoryview(files[file]))


def manifest_with(**changes: Any) -> tuple[str, bytes]:
    """A manifest whose digest is right but whose contents are changed."""
    document = json.loads(encode(a_pack()).files[MANIFEST])
    document.update(changes)
    data = json.dumps(document, sort_keys=True, separators=(",", ":")).encode() + b"\n"
    return hashlib.sha256(data).hexdigest(), data


def no_tensor(file: str, size: int) -> bytes:
    raise AssertionError(f"{file} must not be asked for")


def test_what_is_encoded_comes_back_bit_for_bit() -> None:
    pack = a_pack()
    back = read(encode(pack))
    assert (back.kind, back.spec, back.rows) == (pack.kind, pack.spec, pack.rows)
    assert set(back.tensors) == set(pack.tensors)
    for name, tensor in pack.tensors.items():
        np.testing.assert_array_equal(back.tensors[name], tensor)


def test_the_same_pack_has_the_same_digest_and_another_value_another() -> None:
    changed = a_pack()
    changed.tensors["center"][0, 0] = 2
    assert encode(a_pack()).digest == encode(a_pack()).digest != encode(changed).digest


def test_the_digest_is_the_sha256_of_the_manifest() -> None:
    encoded = encode(a_pack())
    assert encoded.digest == hashlib.sha256(encoded.files[MANIFEST]).hexdigest()


def test_tensor_files_are_plain_npy_that_numpy_reads_without_pickle() -> None:
    encoded = encode(a_pack())
    loaded = np.load(io.BytesIO(encoded.files["0.kernel.npy"]), allow_pickle=False)
    np.testing.assert_array_equal(loaded, a_pack().tensors["0.kernel"])


@given(st.lists(st.integers(1, 7), min_size=1, max_size=5))
def test_the_header_equals_numpys_for_every_shape(shape: list[int]) -> None:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.zeros(shape, "<f4"), version=(1, 0))
    ours = npy_header(tuple(shape))
    assert np.lib.format.read_magic(io.BytesIO(ours)) == (1, 0)
    back = np.load(io.BytesIO(ours + bytes(4 * int(np.prod(shape)))), allow_pickle=False)
    assert back.shape == tuple(shape)
    assert len(ours) % 64 == 0


def test_tensors_are_read_only_views_of_the_buffers() -> None:
    encoded = encode(a_pack())
    buffers = {name: bytearray(data) for name, data in encoded.files.items()}
    pack = decode(encoded.digest, encoded.files[MANIFEST], lambda file, _: memoryview(buffers[file]))
    assert not pack.tensors["center"].flags.writeable
    buffers["center.npy"][-4:] = np.float32(7).tobytes()
    assert pack.tensors["center"][-1, 0] == 7


def test_the_reader_is_told_the_size_before_it_reads() -> None:
    encoded = encode(a_pack())
    asked: dict[str, int] = {}

    def tensor(file: str, size: int) -> bytes:
        asked[file] = size
        return encoded.files[file]

    decode(encoded.digest, encoded.files[MANIFEST], tensor)
    assert asked == {name: len(data) for name, data in encoded.files.items() if name != MANIFEST}


@pytest.mark.parametrize("models", [1, MAX_MODELS])
def test_one_and_sixty_four_models_are_a_pack(models: int) -> None:
    assert len(read(encode(a_pack(models))).rows) == models


def test_sixty_five_models_and_none_are_refused() -> None:
    with pytest.raises(PackRejectedError, match="1 to 64 models, received 65"):
        encode(a_pack(MAX_MODELS + 1))
    with pytest.raises(PackRejectedError):
        encode(Pack("zscore", {}, {"center": np.zeros((1, 1), np.float32)}, ()))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_never_gets_into_a_pack(bad: float) -> None:
    pack = a_pack()
    pack.tensors["center"][1, 0] = bad
    with pytest.raises(PackRejectedError, match="'center' holds NaN"):
        encode(pack)


def test_nan_in_a_row_never_gets_into_a_pack() -> None:
    pack = a_pack(1)
    with pytest.raises(PackRejectedError, match="JSON without NaN"):
        encode(Pack(pack.kind, pack.spec, pack.tensors, ({"loss": float("nan")},)))


def test_a_truncated_tensor_is_called_truncated() -> None:
    encoded = encode(a_pack())
    with pytest.raises(PackTruncatedError, match="has 130 bytes of 140"):
        read(encoded, center__npy=encoded.files["center.npy"][:-10])


def test_a_truncated_manifest_is_called_truncated() -> None:
    encoded = encode(a_pack())
    with pytest.raises(PackTruncatedError):
        decode(encoded.digest, encoded.files[MANIFEST][:-20], no_tensor)
    with pytest.raises(PackTruncatedError):
        decode(encoded.digest, b"", no_tensor)


def test_a_longer_tensor_is_rejected() -> None:
    encoded = encode(a_pack())
    with pytest.raises(PackRejectedError, match="more than"):
        read(encoded, center__npy=encoded.files["center.npy"] + b"\0")


def test_a_flipped_bit_in_a_tensor_is_found_by_its_hash() -> None:
    encoded = encode(a_pack())
    data = bytearray(encoded.files["center.npy"])
    data[-1] ^= 1
    with pytest.raises(PackRejectedError, match="SHA-256"):
        read(encoded, center__npy=bytes(data))


@pytest.mark.parametrize(("descr", "order"), [("<f8", False), (">f4", False), ("|O", False), ("<f4", True)], ids=str)
def test_no_other_dtype_or_order_is_read_even_with_a_right_hash(descr: str, order: bool) -> None:
    encoded = encode(a_pack())
    data = encoded.files["center.npy"]
    text = f"{{'descr': '{descr}', 'fortran_order': {order}, 'shape': (3, 1), }}".encode()
    forged = data[:10] + text.ljust(len(npy_header((3, 1))) - 11) + b"\n" + data[len(npy_header((3, 1))) :]
    document = json.loads(encoded.files[MANIFEST])
    table = [
        {**t, "sha256": hashlib.sha256(forged).hexdigest()} if t["name"] == "center" else t for t in document["tensors"]
    ]
    digest, manifest = manifest_with(tensors=table)
    with pytest.raises(PackRejectedError, match="not plain float32"):
        decode(digest, manifest, lambda file, _: forged if file == "center.npy" else encoded.files[file])


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ([3, 2**30], 12 * 2**30 + 128),
        ([3, 2**62, 2**62], 128),
        ([3, 0], 128),
        ([3, -1], 128),
        ([3, 1.0], 140),
        ([3, True], 140),
        ([2, 1], 136),
        ([3] * 7, 128 + 4 * 3**7),
        ([], 132),
        ("3", 140),
    ],
    ids=str,
)
def test_a_bad_shape_is_refused_before_any_tensor_is_asked_for(shape: Any, size: int) -> None:
    line = {"name": "center", "shape": shape, "sha256": "0" * 64, "bytes": size}
    with pytest.raises(PackRejectedError):
        decode(*manifest_with(tensors=[line]), no_tensor)


def test_many_large_tensors_are_refused_by_their_sum() -> None:
    elements = 250 * 2**20 // 4 // 3
    size = len(npy_header((3, elements))) + 12 * elements
    lines = [{"name": f"t{i}", "shape": [3, elements], "sha256": "0" * 64, "bytes": size} for i in range(3)]
    with pytest.raises(PackRejectedError, match="at most"):
        decode(*manifest_with(tensors=lines), no_tensor)


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", ".hidden", "a/b", "", "x" * 65, "a\0b", "ä"])
def test_a_tensor_name_cannot_leave_the_folder(name: str) -> None:
    line = {"name": name, "shape": [3, 1], "sha256": "0" * 64, "bytes": 140}
    with pytest.raises(PackRejectedError):
        decode(*manifest_with(tensors=[line]), no_tensor)


def test_tensor_names_that_differ_only_in_case_are_refused() -> None:
    size = len(npy_header((3, 1))) + 12
    lines = [{"name": n, "shape": [3, 1], "sha256": "0" * 64, "bytes": size} for n in ("A", "a")]
    with pytest.raises(PackRejectedError, match="more than case"):
        decode(*manifest_with(tensors=lines), no_tensor)


@pytest.mark.parametrize(
    "changes",
    [{"format": 2}, {"kind": 5}, {"kind": "../x"}, {"spec": []}, {"rows": []}, {"rows": ["x"]}, {"extra": 1}],
    ids=str,
)
def test_a_manifest_of_another_form_is_rejected(changes: dict[str, Any]) -> None:
    with pytest.raises(PackRejectedError):
        decode(*manifest_with(**changes), no_tensor)


def test_a_manifest_that_nests_too_deeply_is_rejected() -> None:
    data = b"[" * 200_000 + b"}\n"
    with pytest.raises(PackRejectedError):
        decode(hashlib.sha256(data).hexdigest(), data, no_tensor)


def test_a_manifest_over_the_cap_is_rejected_before_it_is_parsed() -> None:
    with pytest.raises(PackRejectedError, match="more than"):
        decode("0" * 64, bytes(17 * 2**20), no_tensor)


@st.composite
def damage(draw: st.DrawFn) -> tuple[str, bytes]:
    """A file of a pack with bytes flipped, cut, doubled or inserted."""
    files = encode(a_pack()).files
    name = draw(st.sampled_from(sorted(files)))
    data = bytearray(files[name])
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        kind = draw(st.sampled_from(["flip", "cut", "insert", "repeat"]))
        if kind == "flip" and data:
            data[at] ^= draw(st.integers(1, 255))
        elif kind == "cut":
            del data[at:]
        elif kind == "insert":
            data[at:at] = draw(st.binary(min_size=1, max_size=20))
        else:
            data[at:at] = data[:at]
    return name, bytes(data)


@given(damage(), st.booleans())
@settings(max_examples=300, deadline=None)
def test_a_damaged_pack_gives_a_pack_error_or_the_pack_whatever_is_damaged(
    damaged: tuple[str, bytes], forge: bool
) -> None:
    """``forge``: the attacker also made the digest fit the manifest, so only caps and checks stand in the way."""
    name, data = damaged
    encoded = encode(a_pack())
    files = {**encoded.files, name: data}
    digest = hashlib.sha256(files[MANIFEST]).hexdigest() if forge else encoded.digest
    tracemalloc.start()
    try:
        pack = decode(digest, files[MANIFEST], lambda file, _: files.get(file, b""))
    except PackError:
        pass
    else:
        assert all(np.isfinite(t).all() and t.shape[0] == len(pack.rows) for t in pack.tensors.values())
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 4 * 2**20
