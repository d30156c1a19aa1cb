# `make demo` and `make test` set up .venv and run; nothing else is needed.

PY := .venv/bin/python
INSTALLED := .venv/installed

.PHONY: demo test

demo: $(INSTALLED)
	$(PY) -m data_prep --dataset=puppets
	$(PY) train.py --dataset=puppets
	$(PY) evaluate.py --workdir=runs/puppets
	$(PY) export.py --workdir=runs/puppets

test: $(INSTALLED)
	@for tool in chromium g++; do \
	  command -v $$tool >/dev/null || { [ "$$(id -u)" = 0 ] && \
	    apt-get -qq update && DEBIAN_FRONTEND=noninteractive \
	    apt-get -qq install -y $$tool >/dev/null; } || \
	    echo "no $$tool: what needs it is not tested" >&2; \
	done
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m pytest tests -n 2 --dist loadfile

$(INSTALLED): requirements.txt
	@rm -rf .venv
	@if command -v python3.11 >/dev/null && python3.11 -c ''; then \
	  python3.11 -m venv .venv; \
	elif command -v python3.10 >/dev/null && python3.10 -c ''; then \
	  python3.10 -m venv .venv; \
	elif command -v uv >/dev/null; then \
	  uv venv --seed --python 3.11 .venv; \
	else \
	  echo "Python 3.11 or 3.10 is needed; install one, or uv" >&2; exit 1; \
	fi
	$(PY) -m pip install --quiet --disable-pip-version-check \
	  -r requirements.txt
	@touch $@
