"""A fleet teaches one model; a series keeps it until its own is better."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from anomaly_models import pack as codec
from anomaly_models import scorers, sharing
from anomaly_models.cleaning import CleaningSpec
from anomaly_models.exceptions import UntrainableError
from anomaly_models.frame import Block, EntityKey
from anomaly_models.model_spec import ModelSpec
from anomaly_models.sharing import Prior, Shared
from anomaly_models.training import FEWEST_SERIES, Plan, can_share, fitted_part, train, train_shared

STEP = 60
ROWS = 900


def fleet(series: int, rows: int = ROWS, seed: int = 0) -> Block:
    """Series of one shape, a wave with noise, at levels that differ a thousandfold."""
    rng = np.random.default_rng(seed)
    t = np.arange(rows)[:, None]
    level = 10.0 ** np.linspace(0, 3, series)
    shape = 1 + 0.2 * np.sin(2 * np.pi * (t / 120 + np.linspace(0, 1, series))) + 0.02 * rng.normal(size=(rows, series))
    keys = tuple(EntityKey.of("cpu", {"container": f"c{i}"}) for i in range(series))
    return Block(0, STEP, keys, ("value",), (level * shape).astype(np.float32)[:, :, None])


def plan(recipe: str, **fields: object) -> Plan:
    model = ModelSpec(recipe, window=12, epochs=4, max_windows=256, batch=32)
    return Plan(model, CleaningSpec(contamination=0.0), **fields)  # type: ignore[arg-type]


@pytest.mark.keras
@pytest.mark.parametrize("recipe", ["fc", "cnn_gru"])
def test_an_autoencoder_is_shared_and_scores_series_it_never_saw(recipe: str) -> None:
    fit = train_shared(fleet(6), plan(recipe))
    assert fit.pack.kind == "autoencoder"
    assert len(fit.pack.rows) == 1
    encoded = codec.encode(fit.pack)
    back = codec.decode(encoded.digest, encoded.files[codec.MANIFEST], lambda name, _: encoded.files[name], True)
    base = scorers.restore(back.kind, back.spec, back.tensors)
    assert Prior.from_json(back.rows[0]["prior"], 1) == fit.prior
    strangers, born = fleet(3, rows=60, seed=9).values, np.zeros(3, np.int64)
    known = np.isfinite(strangers)
    begun = sharing.begin(base, strangers[:16], known[:16], born, fit.prior.rules())
    errors = sharing.errors_of(Shared(base, begun.scaler), strangers, known, born, fit.prior.rules())
    assert np.isfinite(errors).all()


@pytest.mark.parametrize("recipe", ["pca", "zscore"])
def test_simple_members_are_shared_without_tensorflow(recipe: str) -> None:
    fit = train_shared(fleet(5), plan(recipe))
    assert (fit.pack.kind, fit.epochs, fit.prior.series) == (recipe, None, 5)
    assert fit.data_end == STEP * (ROWS - 1)


def test_a_shared_model_of_too_few_series_or_of_a_time_of_day_table_is_refused() -> None:
    with pytest.raises(UntrainableError, match=f"{FEWEST_SERIES} are needed"):
        train_shared(fleet(FEWEST_SERIES - 1), plan("pca"))
    with pytest.raises(UntrainableError, match="more than its scale"):
        train_shared(fleet(8), plan("seasonal"))
    assert [r for r in ("fc", "pca", "zscore", "seasonal", "auto") if not can_share(r)] == ["seasonal"]


def test_what_the_ensemble_shares_is_its_autoencoder() -> None:
    assert fitted_part(ModelSpec("auto", autoencoder="gru")).recipe == "gru"
    assert fitted_part(ModelSpec("pca")).recipe == "pca"


def test_a_series_with_the_shared_scope_gets_a_scale_and_a_threshold_and_the_weights_of_all() -> None:
    block, wanted = fleet(5), plan("pca")
    fit = train_shared(block, wanted)
    batch = train(block, replace(wanted, scope="shared", shared=fit.scorer))
    assert [r.scope for r in batch.rows] == ["shared"] * 5
    assert batch.scorer is not None
    own = batch.scorer.tensors()
    np.testing.assert_array_equal(own["components"], np.repeat(fit.scorer.tensors()["components"], 5, axis=0))
    assert len({r.threshold.recent.value for r in batch.rows}) == 5
    np.testing.assert_allclose(batch.scorer.scale[4] / batch.scorer.scale[0], 1000, rtol=0.2)


@pytest.mark.keras
def test_own_weights_start_from_the_shared_ones_and_replace_them_only_where_they_are_better() -> None:
    block, wanted = fleet(6), plan("fc")
    fit = train_shared(block, replace(wanted, model=replace(wanted.model, epochs=12)))
    odd = block.values.copy()
    t = np.arange(ROWS)
    odd[:, 5, 0] = 1000 + 300 * np.sign(np.sin(2 * np.pi * t / 7))  # unlike all others
    batch = train(replace(block, values=odd), replace(wanted, scope="both", shared=fit.scorer))
    scopes = [r.scope for r in batch.rows]
    assert scopes[5] == "own"
    assert batch.scorer is not None
    scaler = sharing.identity(1, 6)
    first = next(iter(fit.scorer.tensors()))
    shared = sharing.for_series(fit.scorer, scaler).tensors()
    weights = [name for name in shared if name not in ("center", "scale")]
    assert first
    for i, scope in enumerate(scopes):
        same = all(np.array_equal(batch.scorer.tensors()[n][i], shared[n][i]) for n in weights)
        assert same == (scope == "shared")


@pytest.mark.keras
def test_a_hopeless_own_fit_leaves_the_shared_weights_in_force() -> None:
    block, wanted = fleet(4), plan("fc")
    fit = train_shared(block, replace(wanted, model=replace(wanted.model, epochs=12)))
    hopeless = replace(wanted, model=replace(wanted.model, learning_rate=1.0), scope="both", shared=fit.scorer)
    batch = train(block, hopeless)
    assert not batch.failed
    assert [r.scope for r in batch.rows] == ["shared"] * 4
