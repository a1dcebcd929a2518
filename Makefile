# `make` sets everything up and runs the study; `make test` sets everything up and runs every test.
PYTHON ?= python3
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export PYTHONPATH := $(CURDIR)

.PHONY: run setup test quick lint browser audit faults fuzz verify pull lock

run: setup
	@python -m stages.dvc_lock
	@dvc repro || { python -m stages.report --index --reports reports --out reports; \
	  echo "A stage failed: DVC says which above. reports/index.html shows what there is."; exit 1; }
	@echo
	@echo "Pages:    reports/index.html"
	@echo "Figures:  dvc metrics show     (metrics/, in git)"

setup: .venv/installed

.venv/installed: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { echo \
	  "Python 3.11 or newer is missing. Debian: apt install python3 python3-venv; elsewhere: make PYTHON=/path/to/python3.11"; exit 1; }
	@command -v git >/dev/null || { echo "git is missing. Debian: apt install git"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "Python's venv is missing. Debian: apt install python3-venv"; exit 1; }
	@$(PYTHON) -m venv .venv
	@echo "Installing the pinned packages (6.5 GB with PyTorch: two to three minutes on a fast line) ..."
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.txt || { echo \
	  "The packages could not be installed; pip says why above (no network, or less than 10 GB of disk?)"; exit 1; }
	@touch $@

quick: setup lint browser
	@pytest -n 2 -m "not slow and not gpu and not network"

test: setup lint browser
	@pytest -n 2 -m "not slow and not gpu and not network"
	@pytest -m "slow and not gpu and not network"

lint: setup
	@ruff check .
	@ruff format --check .
	@mypy

# Pages are tested in the system's Chromium. Without one their tests are skipped, and say why; in CI they fail.
browser:
	@test -n "$(CHROMIUM)" || which chromium chromium-browser google-chrome chrome 2>/dev/null | grep -q . || { \
	  test "$$(id -u)" = 0 && command -v apt-get >/dev/null && echo "Installing Chromium, which pages are tested in ..." && \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null; } || echo \
	  "No Chromium: the pages are not tested. Debian: apt install chromium; elsewhere: make CHROMIUM=/path/to/chrome"

# Known flaws of the locked packages, by the advisories of the Python Package Index, which it asks for each. `--strict`, as what it could not
# ask for would otherwise count as sound. What is ignored has no mended release; docs/security.md says what to do instead.
audit:
	@$(PYTHON) -m venv .work/audit
	@.work/audit/bin/python -m pip install --quiet --disable-pip-version-check pip-audit==2.10.1
	@.work/audit/bin/pip-audit --strict --disable-pip --require-hashes --progress-spinner off -r requirements.txt \
	  --ignore-vuln GHSA-w8v5-vhqr-4h9v || { \
	  echo "Not sound, or not known: a flaw is listed above, or an advisory could not be had (docs/security.md)"; exit 1; }

# The sixty faults' tests, the slow ones too; a seed, so that two runs write one page.
faults: setup
	@pytest -q -n 2 -p tests.fault_table --faults docs/faults.md --hypothesis-seed 0 -k test_fault_ -m "not gpu and not network"

# Ten thousand spoilt files for every reader: some 25 minutes of one core.
fuzz: setup
	@python -m tests.fuzz_run --inputs 10000 --out docs/fuzzing.md

verify: setup
	@python -m stages.verify

pull: setup
	@test -n "$$(dvc remote list)" || { echo "No DVC remote comes with the code, so there is nothing to pull from: run make (or" \
	  "dvc repro) to rebuild everything here, or name your own store with: dvc remote add -d NAME URL"; exit 1; }
	@dvc pull

# Resolve requirements.in anew. A lock serves every platform; `pip install uv` first.
lock:
	@uv pip compile --universal --python-version 3.11 --generate-hashes --custom-compile-command "make lock" \
	  --quiet requirements.in --override overrides.txt --output-file requirements.txt
