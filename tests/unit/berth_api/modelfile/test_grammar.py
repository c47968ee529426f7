"""A Modelfile is read as Ollama reads it, or refused at a line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from berth_api.modelfile import grammar
from berth_api.modelfile.grammar import Command, Modelfile, ModelfileError

PIECES = st.sampled_from(
    [
        *(
            "FROM ",
            "from\t",
            "PARAMETER ",
            "stop ",
            "MESSAGE ",
            "user ",
            "system",
            "SYSTEM ",
            "TEM",
        ),
        *('"', '"""', "\n", "\r\n", "\r", " ", "\t", "#", "x", "hf://a/b", "{{ .Prompt }}", "\x00"),
        *("\u200d", "é", "LICENSE ", "REQUIRES 0.1", "\ufeff", "0.7"),
    ]
)
TEXTS = st.lists(PIECES | st.text(max_size=3), max_size=30).map("".join)


def values(text):
    return [(one.name, one.key, one.value) for one in grammar.parse(text).commands]


def value(text):
    return grammar.parse(f"FROM a\n{text}").commands[-1].value


def test_commands_are_read_in_any_case_with_their_lines():
    found = grammar.parse("# a comment\n\nfrom a\n  System be brief\nparameter stop x\n")
    assert found.commands == (
        Command(3, "FROM", "", "a"),
        Command(4, "SYSTEM", "", "be brief"),
        Command(5, "PARAMETER", "stop", "x"),
    )


def test_a_parameter_may_be_there_again():
    text = 'FROM a\nPARAMETER stop "<|end|>"\nPARAMETER stop User:'
    assert values(text)[1:] == [("PARAMETER", "stop", "<|end|>"), ("PARAMETER", "stop", "User:")]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("SYSTEM be brief  ", "be brief"),
        ('SYSTEM " be brief "', " be brief "),
        ('SYSTEM """be "brief" """', 'be "brief" '),
        ('SYSTEM """\nbe\nbrief\n"""', "\nbe\nbrief\n"),
        ('SYSTEM "be\nbrief"', "be\nbrief"),
        ('SYSTEM "be" and\n"brief"', 'be" and\n"brief'),
        ("SYSTEM it's # no comment", "it's # no comment"),
        ('SYSTEM a "quoted" word', 'a "quoted" word'),
        ("SYSTEM \n", ""),
        ('SYSTEM ""', ""),
        ('SYSTEM """"""', ""),
        ("SYSTEM a\tb\x07c", "a\tbc"),
        ('SYSTEM """a\r\nb"""\r\n', "a\r\nb"),
        ("MESSAGE user Is it: yes?", "Is it: yes?"),
        ("MESSAGE   assistant   yes", "yes"),
    ],
)
def test_a_value_is_what_ollama_makes_of_it(text, found):
    assert value(text) == found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "line 1: there is no FROM; add for example FROM hf://Qwen/Qwen3-8B"),
        ("# nothing\nSYSTEM a\n", "line 3: there is no FROM"),
        ("FROM a\nPARMETER x 1", "line 2: 'PARMETER' begins no command; begin the line with one"),
        ("FROM: a", "line 1: 'FROM:' begins no command"),
        ("FROM", "line 1: FROM has no value; write it behind the word and a space"),
        ("FROM a\nPARAMETER stop", "line 2: PARAMETER is followed by 'stop' alone; write for"),
        ("FROM a\nPARAMETER top-k 3", "line 2: PARAMETER is followed by 'top-k'; write for"),
        (
            "FROM a\nMESSAGE bot hi",
            "line 2: MESSAGE is followed by 'bot'; write MESSAGE and one of",
        ),
        ("FROM a\nMESSAGE User hi", "line 2: MESSAGE is followed by 'User'"),
        ('FROM a\nSYSTEM "b\nc\n', "line 2: SYSTEM's \" has no end; end the last line"),
        ('FROM a\n\nSYSTEM """b"', 'line 3: SYSTEM\'s """ has no end'),
        ("FROM a\n" + "é" * 99, "line 2: '" + "é" * 40 + "…' begins no command"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_line_and_the_fix(text, said):
    with pytest.raises(ModelfileError) as refused:
        grammar.parse(text)
    assert str(refused.value).startswith(said)


def test_a_file_without_end_is_not_read():
    with pytest.raises(ModelfileError, match="at most 1048576 are read; shorten its LICENSE"):
        grammar.parse("FROM a\nLICENSE " + "x" * grammar.MOST_CHARACTERS)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_files_of_windows_are_read_too(encoding):
    assert grammar.decode("FROM a\r\nSYSTEM é".encode(encoding)) == "FROM a\r\nSYSTEM é"


@pytest.mark.parametrize(
    ("raw", "line"), [(b"FROM a\nSYSTEM \xff", 2), (b"\xff\xfea", 1), (b"\xfe\xff\xd8", 1)]
)
def test_other_bytes_are_refused_at_their_line(raw, line):
    with pytest.raises(ModelfileError, match=f"line {line}: .*; save the file as UTF-8"):
        grammar.decode(raw)


def read(text):
    """The Modelfile, or what is wrong."""
    try:
        return grammar.parse(text)
    except ModelfileError as refused:
        return refused


@given(TEXTS)
def test_any_text_is_a_modelfile_or_an_error_that_names_a_line(text):
    found = read(text)
    if isinstance(found, ModelfileError):
        assert str(found).startswith(f"line {found.line}: ")
        assert "; " in str(found)
        assert 1 <= found.line <= 1 + len(text)
        return
    assert any(one.name == grammar.FROM for one in found.commands)
    assert all(1 <= one.line <= 1 + len(text) for one in found.commands)


@given(TEXTS)
def test_what_was_read_is_written_and_read_again_as_the_same(text):
    found = read(text)
    if isinstance(found, Modelfile):
        assert values(grammar.write(found)) == values(text)


@given(st.text().filter(lambda text: '"' not in text))
def test_any_text_without_quotes_can_be_a_value(text):
    printable = "".join(one for one in text if one.isprintable() or one in "\n\t")
    written = grammar.write(
        Modelfile((Command(1, "FROM", "", "a"), Command(2, "SYSTEM", "", printable)))
    )
    assert grammar.parse(written).commands[1].value == printable
