"""Completion of verbs and flags for bash, zsh and fish: `xr2mri completion bash >> ~/.bashrc`."""

import importlib
import sys
from collections.abc import Collection, Sequence

from absl import flags

from xr2mri_jax.errors import WRONG_INPUT

SHELLS = ("bash", "zsh", "fish")


def run(words: Sequence[str], verbs: Collection[str]) -> None:
    """Prints the completion script for the shell named in `words`; otherwise exits with code 2."""
    if len(words) != 1 or words[0] not in SHELLS:
        found = " ".join(words) or "nothing"
        print(
            f"error: completion: found {found}, expected one of {', '.join(SHELLS)}",
            file=sys.stderr,
        )
        sys.exit(WRONG_INPUT)
    known = {verb: flag_names(verb) for verb in verbs if verb != "completion"}
    print(script(words[0], {**known, "completion": list(SHELLS)}))


def flag_names(verb: str) -> list[str]:
    """The flags of a verb's module, sorted; they are removed from absl's registry afterwards.

    Several verbs define flags of the same name, and absl allows each name only once per process.
    """
    module = importlib.import_module(f"xr2mri_jax.commands.{verb}")
    defined = sorted(flag.name for flag in flags.FLAGS.get_flags_for_module(module.__name__))
    for name in defined:
        delattr(flags.FLAGS, name)
    del sys.modules[module.__name__]
    return [f"--{name}" for name in defined]


def script(shell: str, words: dict[str, list[str]]) -> str:
    """The completion script for `shell`; `words` has the possible words after each verb."""
    verbs = " ".join(words)
    if shell == "fish":
        lines = [f"complete -c xr2mri -n __fish_use_subcommand -f -a '{verbs}'"]
        for verb, following in words.items():
            seen = f"'__fish_seen_subcommand_from {verb}'"
            lines += [f"complete -c xr2mri -n {seen} -a '{word}'" for word in following]
        return "\n".join(lines)
    cases = "\n".join(
        f"    {verb}) COMPREPLY=($(compgen -f -W '{' '.join(following)}' -- \"$word\"));;"
        for verb, following in words.items()
    )
    start = "autoload -U +X bashcompinit && bashcompinit\n" if shell == "zsh" else ""
    return f"""{start}_xr2mri() {{
  local word="${{COMP_WORDS[COMP_CWORD]}}"
  if [ "$COMP_CWORD" -eq 1 ]; then COMPREPLY=($(compgen -W '{verbs}' -- "$word")); return; fi
  case "${{COMP_WORDS[1]}}" in
{cases}
  esac
}}
complete -o nospace -F _xr2mri xr2mri"""
