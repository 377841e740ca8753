"""The linear protocol against scikit-learn, and faces that cannot be evaluated."""

import dataclasses
import json

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, log_loss
from sklearn.model_selection import GroupKFold
from sklearn.preprocessing import StandardScaler

from trainers import data, probe, scores


def faces(n=600, people=15, seed=0):
    """No pictures; features that tell AU1. AU2 is noise, AU4 always and AU6 never there, AU9 not coded."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 8)) * 3.0 + 1.0
    occurrence = np.zeros((n, 5), int)
    occurrence[:, 0] = x[:, 0] + x[:, 1] + rng.normal(size=n) > 4
    occurrence[:, 1] = rng.uniform(size=n) < 0.3
    occurrence[:, 2] = 1
    coded = rng.uniform(size=occurrence.shape) < 0.9
    coded[:, 4] = False
    subjects = rng.integers(0, people, n)
    folds = list(GroupKFold(3).split(x, groups=subjects))
    return probe.Faces(None, [1, 2, 4, 6, 9], occurrence, coded, subjects, np.zeros(n), folds), x


def reference(faces, x, train, unit):
    """Plain logistic regression; its penalty by the likelihood of held-out people."""
    rows = train[faces.coded[train, unit]]
    y, people = faces.occurrence[rows, unit], faces.subjects[rows]

    def fit(rows, y, c):
        scaler = StandardScaler().fit(x[rows])
        classifier = LogisticRegression(C=c, max_iter=10_000, tol=1e-8).fit(scaler.transform(x[rows]), y)
        return lambda x: classifier.predict_proba(scaler.transform(x))[:, 1]

    def held_out_loss(c):
        splits = GroupKFold(3).split(rows, groups=people)
        return np.mean([log_loss(y[b], fit(rows[a], y[a], c)(x[rows[b]])) for a, b in splits])

    return fit(rows, y, min(probe.PENALTIES, key=held_out_loss))


def test_linear_probe_equals_scikit_learn():
    data, x = faces()
    f1 = np.zeros((3, 2))
    for fold, (train, test) in enumerate(data.folds):
        probabilities = probe.predict(probe.fit_linear(data, x, train), x[test])
        assert (probabilities[:, 2] == 1).all(), "always present in training"
        assert (probabilities[:, 3:] == 0).all(), "never present, never coded"
        for unit in (0, 1):
            expected = reference(data, x, train, unit)(x[test])
            np.testing.assert_allclose(probabilities[:, unit], expected, atol=1e-4)
            coded = data.coded[test, unit]
            y = data.occurrence[test, unit][coded]
            f1[fold, unit] = f1_score(y, expected[coded] > 0.5, zero_division=0)
    result = probe.linear_probe(data, x)
    np.testing.assert_allclose(result[:2], 100 * f1.mean(axis=0), atol=1e-6)
    assert result[0] > 60
    assert (result[2], result[3]) == (100, 0)
    assert np.isnan(result[4])


def test_detector_gives_the_probabilities_of_the_classifiers():
    labels, x = faces()
    classifiers = probe.fit_linear(labels, x, labels.folds[0][0])
    images = keras.Input((1, x.shape[1], 3))
    encoder = keras.Model(images, images[:, 0, :, 0])
    detector = probe.detector(encoder, classifiers, labels)
    pictures = np.repeat(x[:, None, :, None], 3, axis=-1).astype("float32")
    found = detector.predict(pictures, verbose=0)["probabilities"]
    np.testing.assert_allclose(found, probe.predict(classifiers, x), atol=1e-5)
    assert detector.action_units == tuple(labels.action_units)


def test_balanced_predicts_the_rare_unit_more_often():
    data, x = faces()
    train, test = data.folds[0]
    plain, balanced = (
        probe.predict(probe.fit_linear(data, x, train, weight), x[test])[:, 1]
        for weight in (None, "balanced")
    )
    assert abs(plain.mean() - 0.3) < 0.05
    assert abs(balanced.mean() - 0.5) < 0.05


def test_unit_of_one_person():
    data, x = faces()
    data.coded[:, 0] &= data.subjects == 3
    train = next(train for train, _ in data.folds if 3 in data.subjects[train])
    with pytest.raises(ValueError, match="AU1 is coded for one person only"):
        probe.fit_linear(data, x, train)


def test_select():
    data, _ = faces()
    chosen = probe.select(data, [4, 1])
    assert chosen.action_units == [4, 1]
    np.testing.assert_array_equal(chosen.occurrence, data.occurrence[:, [2, 0]])
    np.testing.assert_array_equal(chosen.coded, data.coded[:, [2, 0]])
    with pytest.raises(ValueError, match="AU7 is not in the data: ask for some of AU1, AU2, AU4, AU6, AU9"):
        probe.select(data, [1, 7])


def test_within_one_emotion_only_its_faces_count():
    data, x = faces()
    emotions = np.where(np.arange(600) % 3 == 0, "neutral", "fear")
    data = dataclasses.replace(data, emotions=emotions)
    chosen = probe.within(data, "neutral")
    assert not chosen.coded[emotions == "fear"].any()
    np.testing.assert_array_equal(chosen.coded[::3], data.coded[::3])
    # The same as if there were no other faces.
    rows = np.arange(0, 600, 3)
    train, test = data.folds[0]
    few = probe.fit_linear(data, x, np.intersect1d(train, rows))
    np.testing.assert_allclose(
        probe.predict(probe.fit_linear(chosen, x, train), x[test]), probe.predict(few, x[test]), atol=1e-6
    )
    with pytest.raises(ValueError, match="no face of the data shows 'bliss': its emotions are fear, neutral"):
        probe.within(data, "bliss")


def test_held_out_people_are_of_the_training_faces():
    data, _ = faces()
    for (train, test), (fit, held_out) in zip(data.folds, probe.held_out(data).folds, strict=True):
        assert not set(data.subjects[fit]) & set(data.subjects[held_out])
        assert not set(held_out) & set(test)
        np.testing.assert_array_equal(np.sort(np.concatenate([fit, held_out])), train)
        assert 0.2 < len(held_out) / len(train) < 0.45


def test_folds_of_a_data_set_share_no_person(manual_dir, tmp_path_factory):
    directory = tmp_path_factory.getbasetemp() / "tensorflow_datasets"
    loaded = probe.load(data.prepare("action_unit_folder/units", str(directory), str(manual_dir)))
    assert sorted(np.concatenate([test for _, test in loaded.folds])) == list(range(36))
    for train, test in loaded.folds:
        assert not set(loaded.subjects[train]) & set(loaded.subjects[test])
        assert len(train) + len(test) == 36


def stored(directory, name, **subjects):
    """A real TFDS data set whose splits hold one face of each person named."""
    features = tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(shape=(None, None, 3)),
            "emotion": tfds.features.Text(),
            "subject": tfds.features.Text(),
            "action_units": {"occurrence": tfds.features.Tensor(shape=(2,), dtype=np.uint8)},
        }
    )

    def split(people):
        return tf.data.Dataset.from_tensor_slices(
            {
                "image": np.zeros((len(people), 4, 4, 3), np.uint8),
                "emotion": [""] * len(people),
                "subject": people,
                "action_units": {"occurrence": np.zeros((len(people), 2), np.uint8)},
            }
        )

    path = tfds.dataset_builders.store_as_tfds_dataset(
        name, "1.0.0", features, {k: split(v) for k, v in subjects.items()}, data_dir=directory
    ).data_path
    (path / "metadata.json").write_text(json.dumps({"action_units": [1, 2]}))
    return tfds.builder_from_directory(path)


def test_published_parts_are_the_folds():
    split_of = np.array(["part1", "part1", "part2", "part3", "part3", "part3"])
    folds = probe.folds_of(["part1", "part2", "part3"], split_of, np.array(list("aabcde")), "parts")
    assert [test.tolist() for _, test in folds] == [[0, 1], [2], [3, 4, 5]]
    assert [train.tolist() for train, _ in folds] == [[2, 3, 4, 5], [0, 1, 3, 4, 5], [0, 1, 2]]


def test_empty_test_split_is_refused():
    people = np.array(["ann", "bob", "eve"])
    folds = probe.folds_of(["train", "test"], np.array(["train"] * 3), people, "empty")
    with pytest.raises(ValueError, match="has no test face"):
        scores.check_folds(people, folds)


def test_leaky_split_is_refused(tmp_path):
    builder = stored(tmp_path, "leaky", train=["ann", "bob", "eve"], test=["eve", "kim"])
    with pytest.raises(ValueError, match=r"leaks: 1 subjects are in both training and test, 'eve' for one"):
        probe.load(builder)


def test_too_few_people(tmp_path):
    with pytest.raises(
        ValueError, match=r"few/1\.0\.0: 3 folds by subject need 3 people or more, and there are 2"
    ):
        probe.load(stored(tmp_path, "few", train=["ann", "bob", "bob", "ann"]))


def test_data_set_that_does_not_say_which_units_it_has(tmp_path):
    path = stored(tmp_path, "unnamed", train=["ann", "bob", "eve"]).data_path
    (path / "metadata.json").unlink()
    with pytest.raises(ValueError, match=r"unnamed/1\.0\.0 does not say which action units it has"):
        probe.load(tfds.builder_from_directory(path))
