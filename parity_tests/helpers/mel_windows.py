"""Speech for a voice encoder: mel power spectra of a recording, or of a drawn voice where there is no recording."""

import wave
from pathlib import Path

import numpy as np

RATE = 16_000  # samples a second
WINDOW, HOP = 400, 160  # 25 ms, 10 ms
LOUDNESS = 10 ** (-30 / 20)  # root mean square of the signal: -30 dB of full scale, as in resemblyzer/hparams.py

# The first three formants of vowels in Hz: Peterson and Barney, "Control methods used in a study of the vowels",
# Journal of the Acoustical Society of America 24 (1952), table II, men.
_VOWELS = np.array([(270, 2290, 3010), (530, 1840, 2480), (730, 1090, 2440), (570, 840, 2410), (300, 870, 2240)])
_BANDWIDTHS = np.array([60.0, 90.0, 150.0])  # of the formants, Hz


def read_wav(path: Path) -> np.ndarray:
    """Return the samples of a 16-bit mono file at ``RATE``, from -1 to 1."""
    with wave.open(str(path)) as file:
        if (file.getnchannels(), file.getsampwidth(), file.getframerate()) != (1, 2, RATE):
            raise ValueError(f"{path}: expected one channel of 16 bits at {RATE} Hz")
        return np.frombuffer(file.readframes(file.getnframes()), "<i2") / 2**15


def drawn_speech(seconds: float = 30.0, seed: int = 0) -> np.ndarray:
    """Draw a voice that glides from vowel to vowel, with breaths in between.

    It is a source and a filter: noise, and the harmonics of a pitch around 120 Hz that falls in each phrase. Three
    formant resonances set how loud each harmonic is.
    """
    rng = np.random.default_rng(seed)
    time = np.arange(int(seconds * RATE)) / RATE
    knots = np.arange(0, seconds + 0.2, 0.18)  # about five and a half syllables a second
    vowels = _VOWELS[rng.integers(len(_VOWELS), size=len(knots))]
    formants = np.stack([np.interp(time, knots, vowels[:, at]) for at in range(3)])
    loud = np.interp(time, knots, rng.uniform(0.1, 1.0, len(knots))) * (time % 2.5 < 2.1)
    pitch = 120 * (1.15 - 0.12 * (time % 2.5)) * (1 + 0.02 * np.sin(2 * np.pi * 5 * time))
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    signal = np.zeros_like(time)
    for harmonic in range(1, 40):
        distance = (harmonic * pitch - formants) / _BANDWIDTHS[:, None]
        signal += np.sum(1 / (1 + distance**2), axis=0) / harmonic * np.sin(harmonic * phase)
    signal = loud * signal + 0.002 * rng.standard_normal(len(time))
    return signal * LOUDNESS / np.sqrt(np.mean(signal**2))


def mel_windows(samples: np.ndarray, channels: int = 40) -> np.ndarray:
    """Return the mel power of each 10 ms that is not silent, (windows, channels) float32.

    This follows ``wav_to_mel_spectrogram`` in resemblyzer 0.1.4: ``librosa.feature.melspectrogram`` with a window of
    25 ms. Instead of its voice detector, this leaves out windows more than 40 dB below the loudest.
    """
    loudness = np.sqrt(np.mean(samples**2))
    samples = samples * max(1.0, LOUDNESS / loudness)  # only ever louder, as in resemblyzer
    padded = np.pad(samples, WINDOW // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)
    power = np.abs(np.fft.rfft(frames * hann)) ** 2
    energy = power.sum(axis=1)
    return (power[energy > 1e-4 * energy.max()] @ _filterbank(channels).T).astype(np.float32)


def _filterbank(channels: int) -> np.ndarray:
    """Return triangles of equal area on Slaney's mel scale up to half of ``RATE``, (channels, frequencies)."""
    edges = _hertz(np.linspace(0.0, _mel(RATE / 2), channels + 2))
    frequencies = np.fft.rfftfreq(WINDOW, 1 / RATE)
    rising = (frequencies - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - frequencies) / (edges[2:] - edges[1:-1])[:, None]
    return np.maximum(0, np.minimum(rising, falling)) * (2 / (edges[2:] - edges[:-2]))[:, None]


# Slaney's scale (Auditory Toolbox, 1998): linear to 1 kHz, which is 15 mel, and logarithmic above.
_STEP = np.log(6.4) / 27


def _mel(hertz: float) -> float:
    return 3 * hertz / 200 if hertz < 1000 else 15 + np.log(hertz / 1000) / _STEP


def _hertz(mel: np.ndarray) -> np.ndarray:
    return np.where(mel < 15, 200 * mel / 3, 1000 * np.exp(_STEP * (mel - 15)))
