# Sourced by the other scripts.
# find_python VERSION   prints an interpreter of that version (3.11), from the path or from pyenv; nothing where none is.

find_python() {
  local candidate
  for candidate in "python$1" "$(pyenv root 2>/dev/null || echo "$HOME/.pyenv")/versions/$1".*/bin/python; do
    if [ "$("$candidate" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)" = "$1" ]; then
      echo "$candidate"
      return
    fi
  done
}
