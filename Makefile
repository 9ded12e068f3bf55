# Needs Python 3.11 or later, make and a package index. Every target makes the environments it uses.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

PYTHON ?= $(shell for python in python3.11 python3 python; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$python" && break; done)

TOGETHER := $(MAKE) -j2
# All of them run, whatever one finds, and each one's lines stay together where make can do that.
CHECKS := $(TOGETHER) --keep-going $(if $(filter output-sync,$(.FEATURES)),--output-sync=target)

# tests/processes.py says what is run first, and what in one process.
PYTEST := .venv/bin/pytest --numprocesses 2 --no-loadscope-reorder
# End-to-end tests wait for AWS's pace and for leases: six of them keep two cores busy.
WAITING := .venv/bin/pytest --numprocesses 6 --no-loadscope-reorder -p no:randomly

# Two processes a test run, and each process of the sandbox, would compile every library again.
unexport PYTHONDONTWRITEBYTECODE
export SAM_CLI_TELEMETRY := 0
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# The one tool that starts others' code in another environment: the demo and the tests are told where it is.
export KEYJANITOR_SAM := $(CURDIR)/.venv-sam/bin/sam
# `sam build` runs the layers' makefiles with the caller's environment; pip comes from here.
export KEYJANITOR_PYTHON := $(CURDIR)/.venv-sam/bin/python

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

# --- what people run -------------------------------------------------------------------------------

.PHONY: demo
demo: ## Watch nine nights of ten thousand keys in an AWS on this machine
	@$(TOGETHER) demo-environments
	@.venv-sandbox/bin/python -m sandbox.demo

.PHONY: simulate
simulate: .venv/.made ## Live a year of a growing account by the real rules, and draw it (two minutes)
	@PYTHONPATH=layers/keyjanitor .venv/bin/python -m sandbox.year.simulate

.PHONY: pictures
REPORT ?= .demo/report/index.html
pictures: .venv/.made $(REPORT) ## Take the pictures of a report for docs/ (REPORT=path/to/index.html), with Debian's chromium
	@.venv/bin/python -m sandbox.portraits $(REPORT) docs/pictures
.demo/report/index.html: # of an account that does not exist, until there is a real one
	@mkdir -p $(@D); PYTHONPATH=layers/keyjanitor .venv/bin/python -m tests.report_document $@

.PHONY: sandbox
sandbox: ## Start an AWS on this machine with KEYS=500 API keys in it, and print what to type next
	@$(TOGETHER) demo-environments
	@.venv-sandbox/bin/python -m sandbox.welcome $(if $(KEYS),--keys $(KEYS))

.PHONY: nights
nights: .venv-sandbox/.made ## Live the last 7 nights in the running sandbox, after `. .sandbox/env` and `sam deploy --config-env local`
	@.venv-sandbox/bin/python -m sandbox.nights

.PHONY: test
test: export KEYJANITOR_PROFILE := test
test: ## Everything: check with more examples, then what it leaves out (CONTRIBUTING.md; a quarter of an hour)
	@$(TOGETHER) environments
	@$(MAKE) check
	@$(MAKE) rest

.PHONY: check
check: ## Format, lint, types, imports, template and the quick tests (two minutes)
	@$(TOGETHER) check-environments
	@$(CHECKS) quick types template format lint imports

.PHONY: rest
rest: .venv/.made .venv-sandbox/.made .venv-sam/.made .venv-oscal/.made .node/.made ## What check leaves out: the slow tests and the end-to-end tests
	@KEYJANITOR_PROFILE=test $(WAITING) -m "slow or e2e"

.PHONY: e2e
e2e: .venv/.made .venv-sandbox/.made .venv-sam/.made .node/.made ## The end-to-end tests alone
	@$(WAITING) -m e2e

.PHONY: docs
docs: .venv/.made ## Write the parts of docs/ that are made from the code
	@PYTHONPATH=layers/keyjanitor:. .venv/bin/python -m tests.pages

.PHONY: bench
bench: .venv/.made .venv-sandbox/.made ## Measure the seconds that the slow moves take on this machine (a minute)
	@PYTHONPATH=layers/keyjanitor:. .venv/bin/python -m tests.bench

.PHONY: soak
SECONDS_OF_SOAK = $(if $(filter command line environment,$(origin SECONDS)),$(SECONDS),300)
soak: .venv/.made ## Live random accounts for SECONDS=300 on two processes, from SEED= on; or tell one STORY= again
	@PYTHONPATH=layers/keyjanitor:. .venv/bin/python -W ignore -m tests.machine.soak \
		$(if $(STORY),--story "$(STORY)",--seconds $(SECONDS_OF_SOAK) $(if $(SEED),--seed $(SEED)))

.PHONY: coverage
coverage: .venv/.made ## Branches of the layer and the functions that quick tests run; fails under the floor (four minutes)
	@rm -rf .coverage; mkdir .coverage
	@.venv/bin/coverage run $(PYTEST) tests/unit tests/contract tests/sandbox -m "not slow and not e2e" -q
	@.venv/bin/coverage combine --quiet; .venv/bin/coverage report

.PHONY: fuzz
fuzz: .venv/.made ## Read 10,000 bent requests, events and answers of AWS of each kind
	@KEYJANITOR_FUZZ_EXAMPLES=10000 .venv/bin/pytest tests/machine/test_fuzz.py --numprocesses 2

.PHONY: takeouts
takeouts: .venv/.made ## Take each fix of tests/machine/takeouts out (B=B5: one), and see that it is found again
	@PYTHONPATH=layers/keyjanitor:. .venv/bin/python -W ignore -m tests.machine.takeouts $(B)

.PHONY: mutants
mutants: .venv/.made ## Put every small mistake into the rules and name those that no test finds (RULES=domain/expiry/verdicts for one; half an hour)
	@PYTHONPATH=layers/keyjanitor:. .venv/bin/python -m tests.mutation $(RULES)

.PHONY: chaos
chaos: .venv/.made .venv-sandbox/.made .venv-sam/.made ## A night of ten thousand keys and a thousand requests in each kind of bad weather (two hours)
	@KEYJANITOR_CHAOS=long .venv/bin/pytest tests/e2e/test_chaos.py -m e2e --numprocesses 2 -p no:randomly

.PHONY: build
build: .venv-sam/.made ## Build functions and layers into .aws-sam, as `sam build` does
	@.venv-sam/bin/sam build

.PHONY: package
VERSION = $(shell sed -n 's/^__version__ = "\(.*\)"$$/\1/p' layers/keyjanitor/keyjanitor/__init__.py)
package: build ## Put what was built into .release/, to be deployed without a checkout (docs/versions.md)
	@PYTHONPATH=layers/keyjanitor $(KEYJANITOR_PYTHON) -m release.package .release/keyjanitor-$(VERSION).zip

.PHONY: sbom
sbom: .venv-audit/.made ## List the packages that run in the account into .release/, as CycloneDX
	@PYTHONPATH=layers/keyjanitor .venv-audit/bin/python -m release.sbom .release/keyjanitor-$(VERSION).cdx.json

.PHONY: audit
audit: .venv-audit/.made ## Look up known vulnerabilities of all pinned packages; fails if some could not be looked up
	@.venv-audit/bin/python -m release.audit layers/keyjanitor/requirements.txt requirements/*.txt

.PHONY: lock
lock: .venv/.made ## Pin the newest versions that fit requirements/*.in
	$(PIP_COMPILE) --output-file layers/keyjanitor/requirements.txt requirements/layer.in
	$(PIP_COMPILE) --output-file requirements/dev.txt requirements/dev.in
	$(PIP_COMPILE) --output-file requirements/sandbox.txt requirements/sandbox.in
	$(PIP_COMPILE) --output-file requirements/sam.txt requirements/sam.in
	$(PIP_COMPILE) --output-file requirements/audit.txt requirements/audit.in
	$(PIP_COMPILE) --output-file requirements/oscal.txt requirements/oscal.in

.PHONY: clean
clean: ## Remove the environments and everything that was built
	rm -rf .venv .venv-sandbox .venv-sam .venv-audit .venv-oscal .node .aws-sam .release .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --- the parts of check ----------------------------------------------------------------------------

.PHONY: format lint imports types template quick
format: .venv/.made
	@echo "ruff format"; .venv/bin/ruff format --check .
lint: .venv/.made
	@echo "ruff check"; .venv/bin/ruff check .
imports: .venv/.made
	@echo "import-linter"; found="$$(PYTHONPATH=layers/keyjanitor:cli .venv/bin/lint-imports --no-cache 2>&1)" || { echo "$$found"; exit 1; }
types: .venv/.made
	@echo "mypy"; .venv/bin/mypy
template: .venv/.made .venv-sam/.made
	@echo "cfn-lint"; .venv/bin/cfn-lint --regions us-east-1 eu-west-1 us-gov-west-1 cn-north-1 -- template.yaml sender/answers.yaml
	@echo "sam validate"; AWS_DEFAULT_REGION="$${AWS_DEFAULT_REGION:-us-east-1}" .venv-sam/bin/sam validate --config-env local
quick: .venv/.made
	@$(PYTEST) -m "not slow and not e2e"

# --- environments ----------------------------------------------------------------------------------
# Everything is pinned with hashes, so pip has nothing to resolve; bytecode is made where it is used.
# `.made` is written last: an install that broke off is begun again.

PIP_COMPILE = CUSTOM_COMPILE_COMMAND="make lock" .venv/bin/pip-compile --quiet --upgrade --generate-hashes \
	--allow-unsafe --strip-extras --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --no-emit-options

define make-environment
	@$(if $(PYTHON),true,echo "keyjanitor needs Python 3.11 or later; name one with: make PYTHON=/path/to/python" >&2; exit 1)
	@echo "making $(@D) from $< ($$(grep -c == $<) packages) ..."; began=$$SECONDS; \
	rm -rf $(@D); $(PYTHON) -m venv $(@D); \
	$(@D)/bin/python -m pip install -qq --no-input --no-compile --no-deps --require-hashes --requirement $<; \
	touch $@; echo "made $(@D) in $$((SECONDS - began)) s"
endef

.PHONY: environments demo-environments check-environments
environments: .venv-sam/.made .venv/.made .venv-sandbox/.made .venv-oscal/.made .node/.made ; @:
demo-environments: .venv-sam/.made .venv-sandbox/.made ; @:
check-environments: .venv-sam/.made .venv/.made ; @:

.venv/.made: requirements/dev.txt
	$(make-environment)
.venv-sandbox/.made: requirements/sandbox.txt
	$(make-environment)
.venv-sam/.made: requirements/sam.txt
	$(make-environment)
.venv-audit/.made: requirements/audit.txt
	$(make-environment)
.venv-oscal/.made: requirements/oscal.txt
	$(make-environment)

# What comes from npm is for tests alone; without npm they are skipped, and say so.
.node/.made: requirements/npm/package.json requirements/npm/package-lock.json
	@rm -rf $(@D); mkdir $(@D); \
	if command -v npm >/dev/null; then \
		echo "making $(@D) from requirements/npm ..."; began=$$SECONDS; cp $^ $(@D)/; \
		npm ci --prefix $(@D) --ignore-scripts --no-audit --no-fund --silent && echo "made $(@D) in $$((SECONDS - began)) s"; \
	else echo "no npm: the tests that need it will be skipped"; fi; \
	touch $@
