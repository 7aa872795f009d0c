"""Folding a list of layers into repeats loses nothing and finds the short spelling."""

from hypothesis import given
from hypothesis import strategies as st

from gambrel.frontends.architecture import Layer, Mlp, Norm, Segment, SelfAttention
from gambrel.frontends.folding import fold, unfold


def layer(width: int) -> Layer:
    attention = SelfAttention(heads=1, kv_heads=1, head_dim=8, v_head_dim=8)
    ffn = Mlp(width=width, gated=False, activation="gelu")
    return Layer(attention=attention, ffn=ffn, norm=Norm(kind="rms"), placement="pre")


A, B, C = layer(1), layer(2), layer(3)
words = st.lists(st.sampled_from([A, B, C]), max_size=40)


def spelled(segments: tuple[Segment, ...]) -> list[tuple[int, int]]:
    return [(segment.count, len(segment.layers)) for segment in segments]


def written(segments: tuple[Segment, ...]) -> int:
    return sum(len(segment.layers) for segment in segments)


def test_equal_layers_are_one_segment() -> None:
    assert fold([A] * 80) == (Segment(count=80, layers=(A,)),)


def test_first_dense_layers_then_experts() -> None:
    assert fold([A] * 3 + [B] * 58) == (Segment(count=3, layers=(A,)), Segment(count=58, layers=(B,)))


def test_pattern_that_divides_the_stack() -> None:
    assert fold([A, A, A, B] * 16) == (Segment(count=16, layers=(A, A, A, B)),)


def test_remainder_of_a_pattern_comes_last() -> None:
    pattern = [A] * 5 + [B]
    assert fold((pattern * 11)[:62]) == (
        Segment(count=10, layers=tuple(pattern)),
        Segment(count=2, layers=(A,)),
    )


def test_odd_layer_before_a_pattern() -> None:
    assert spelled(fold([C, *([A, B] * 20)])) == [(1, 1), (20, 2)]


def test_nothing_folds_to_nothing() -> None:
    assert fold([]) == ()


@given(words)
def test_unfold_is_the_inverse_of_fold(word: list[Layer]) -> None:
    assert list(unfold(fold(word))) == word


@given(words)
def test_folding_never_writes_more_layers_than_there_are(word: list[Layer]) -> None:
    segments = fold(word)
    assert written(segments) <= len(word)
    assert all(segment.count >= 1 and segment.layers for segment in segments)


@given(st.lists(st.sampled_from([A, B, C]), min_size=1, max_size=6), st.integers(min_value=1, max_value=8))
def test_a_repeated_word_costs_no_more_than_the_word(word: list[Layer], count: int) -> None:
    assert written(fold(word * count)) <= len(word)


@given(words, words)
def test_folding_a_concatenation_costs_no_more_than_its_parts(left: list[Layer], right: list[Layer]) -> None:
    assert written(fold(left + right)) <= written(fold(left)) + written(fold(right))
