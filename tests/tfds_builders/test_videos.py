"""A video written here by OpenCV is read back frame by frame, whole, truncated and damaged."""

import os
import pathlib
import sys

import numpy as np
import pytest

from tfds_builders import videos

cv2 = pytest.importorskip("cv2", reason="videos need the extra align")


def write_video(path: pathlib.Path, count: int, size: tuple[int, int] = (64, 48)) -> None:
    """Writes frames whose red grows by 10 with the number; OpenCV takes BGR."""
    writer = cv2.VideoWriter(os.fspath(path), cv2.VideoWriter_fourcc(*"MJPG"), 20, size)
    for number in range(count):
        # The noise makes files large enough to be cut between two frames.
        frame = np.random.default_rng(number).integers(0, 60, (size[1], size[0], 3), np.uint8)
        frame[..., 2] = 20 + 10 * number
        writer.write(frame)
    writer.release()


def test_frames_come_in_order_as_rgb(tmp_path):
    write_video(tmp_path / "v.avi", 12)
    found = list(videos.frames(tmp_path / "v.avi"))
    assert [frame.shape for frame in found] == [(48, 64, 3)] * 12
    means = np.array([frame.mean((0, 1)) for frame in found])
    np.testing.assert_allclose(means[:, 0], 20 + 10 * np.arange(12), atol=4)
    np.testing.assert_allclose(means[:, 1:], 30, atol=6)


def test_a_truncated_video_yields_fewer_frames_and_no_video_is_an_error(tmp_path):
    write_video(tmp_path / "v.avi", 12)
    os.truncate(tmp_path / "v.avi", (tmp_path / "v.avi").stat().st_size * 2 // 3)
    assert 0 < len(list(videos.frames(tmp_path / "v.avi"))) < 12
    (tmp_path / "text.avi").write_bytes(b"no video")
    with pytest.raises(ValueError, match=r"text.avi: OpenCV finds no frame"):
        list(videos.frames(tmp_path / "text.avi"))


def test_without_opencv_the_message_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(ImportError, match=r"pip install 'keras-emoco\[align\]'"):
        next(videos.frames(tmp_path / "v.avi"))
