import json

import pytest

from gambrel.models import list_models, read_card


def test_list_gives_the_published_parameter_counts(cli):
    result = cli("models", "list", "--format", "json")
    assert result.code == 0
    counts = {model["name"]: model["parameters"] for model in json.loads(result.stdout)}
    assert counts == {name: read_card(name).parameters for name in list_models()}


def test_list_as_a_table(cli):
    lines = cli("models", "list").stdout.splitlines()
    assert [line.split()[0] for line in lines[2:]] == list(list_models())
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("name", ["llama-3.1-70b", "gemma-3-27b", "deepseek-v3"])
def test_show(cli, snapshot, name):
    result = cli("models", "show", name)
    assert (result.code, result.stderr) == (0, "")
    snapshot(f"models-show-{name}", result.stdout)


def test_show_of_a_config_file_says_what_was_assumed(cli, tmp_path):
    config = dict(read_card("llama-3.1-8b").config) | {"no_such_key": 1}
    del config["tie_word_embeddings"]
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config))
    result = cli("models", "show", str(tmp_path))
    assert result.code == 0
    assert "tie_word_embeddings" in result.stdout.partition("Defaults that were assumed:")[2]
    assert "no_such_key" in result.stdout.partition("Keys without effect:")[2]


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ('{"model_type": "llama", ', "config.json:1:"),
        ('{"model_type": "llama"}', "hidden_size"),
        ('{"model_type": "lama", "hidden_size": 8}', "llama"),
    ],
)
def test_bad_configs_are_located_and_explained(cli, tmp_path, text, part):
    path = tmp_path / "config.json"
    path.write_text(text)
    result = cli("models", "show", str(path))
    assert (result.code, result.stdout) == (2, "")
    assert part in result.stderr
    assert all(line.startswith("error: ") for line in result.stderr.splitlines())


def test_an_unknown_name_is_met_with_the_nearest(cli):
    result = cli("models", "show", "lama-3.1-70b")
    assert result.code == 2
    assert "llama-3.1-70b" in result.stderr
