# make | make report | make test | make thorough | make mutate | make lint | make bench | make lock | make schema; ARGS goes to the tool as it is.
# Own data: make new STUDY=name DATA=file.csv; two runs: make compare A=old/results B=results.
# On a cluster: make slurm-check | make ARGS="--profile profiles/slurm" | make resume | make faults; see docs/cluster.md.
ARGS ?=
PROFILE ?= profiles/slurm
BIN = .venv/bin
# An option where the command line says so: a shell's own GROUP is none of ours.
asked = $(if $(filter command,$(firstword $(origin $(1)))),--$(2) '$($(1))')

# Parallelism is Snakemake's: a process has one BLAS thread unless it asks for more.
export OPENBLAS_NUM_THREADS = 1
export OMP_NUM_THREADS = 1
export MKL_NUM_THREADS = 1
export MPLBACKEND = Agg
# Compiled bytecode is a third of every job's start; some machines switch it off.
unexport PYTHONDONTWRITEBYTECODE
unexport PYTHONHOME

.PHONY: run report test thorough mutate lint bench replay lock schema clean-results slurm-check resume faults new compare

run: .venv/stamp
	@$(BIN)/python workflow/tools/run.py $(ARGS)

# The pages of the studies that are finished, made again from what is there.
RENDERED = study_report report
report: .venv/stamp
	@LMM_RECOVERY_RENDER=made $(BIN)/python workflow/tools/run.py --allowed-rules $(RENDERED) all report_of_all_studies \
	  --forcerun $(RENDERED) $(ARGS)

# Files side by side, and beside them, in one process, those that start a cluster: they wait more than they compute, but
# not for long. While the cluster is there every Snakemake would ask it, but for those that have another slurm.conf.
# Status 5: ARGS left nothing to do for one of the two.
test: .venv/stamp
	@log=$$(mktemp); trap 'kill $$slurm 2>/dev/null; rm -f $$log' EXIT; \
	$(BIN)/python -m pytest -m "slurm and not faults" $(ARGS) >$$log 2>&1 & slurm=$$!; \
	SLURM_CONF=/dev/null nice -n 5 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder \
	  -m "not slurm and not faults and not long" $(ARGS); here=$$?; \
	wait $$slurm; there=$$?; cat $$log; [ $$here -eq 0 -o $$here -eq 5 ] && [ $$there -eq 0 -o $$there -eq 5 ]

# The long tests, beside those of `make test`, and new random examples for the property-based ones.
thorough: .venv/stamp
	@$(BIN)/python -m pytest -n 2 --dist loadfile -m "(long or hypothesis) and not faults" --hypothesis-profile default $(ARGS)

# Share of a random sample of errors in the numerical code that the tests notice.
mutate: .venv/stamp
	@$(BIN)/python tests/mutate.py $(ARGS)

lint: .venv/stamp
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/snakefmt --check Snakefile workflow
	@$(BIN)/lint-imports
	@$(BIN)/mypy
	@$(BIN)/snakemake --lint

# A commented configuration for one's own file, with a proposed formula.
new: .venv/stamp
	@$(BIN)/python workflow/scripts/new_study.py '$(STUDY)' '$(DATA)' $(call asked,OUT,out) \
	  $(call asked,RESPONSE,response) $(call asked,GROUP,group)

# What changed between two folders of results, and whether by more than Monte Carlo error.
compare: .venv/stamp
	@$(BIN)/python workflow/scripts/compare_runs.py '$(A)' '$(B)' $(call asked,OUT,out)

slurm-check: .venv/stamp
	@$(BIN)/python workflow/tools/slurm_check.py $(PROFILE)

# After a run was killed: its orphaned jobs are ended, the lock is taken away, the run goes on.
resume: .venv/stamp
	@$(BIN)/python workflow/tools/resume.py $(PROFILE) $(ARGS)

# Every fault and every kill, on a Slurm of one node; needs root and Slurm's binaries, takes half an hour.
faults: .venv/stamp
	@$(BIN)/python -m pytest -m "" tests/test_faults.py tests/test_slurm.py tests/test_schedulers.py $(ARGS)

bench: .venv/stamp
	@$(BIN)/python benchmarks/run.py $(ARGS)

# make replay STUDY=design REPLICATE=17 [DESIGN=key] [CONFIG=config/recovery.yaml]
CONFIG ?= config/config.yaml
replay: .venv/stamp
	@$(BIN)/python workflow/scripts/replay.py "$(STUDY)" "$(REPLICATE)" --config $(CONFIG) \
	  $(if $(DESIGN),--design $(DESIGN)) -- $(ARGS)

lock: .venv/stamp
	@$(BIN)/uv pip compile --universal --generate-hashes --no-emit-index-url --no-header --extra dev \
	  pyproject.toml -o requirements.lock $(ARGS)

schema: .venv/stamp
	@$(BIN)/python workflow/scripts/write_schema.py

clean-results:
	@find results -mindepth 1 -maxdepth 1 ! -name README.md -exec rm -rf {} +

# Exactly the lock file's packages, by the Python that .python-version names or else one new enough.
.venv/stamp: requirements.lock .python-version
	@for python in python$$(cat .python-version) python3 python; do \
	  if $$python -c 'import sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null; then break; fi; python=; \
	done; \
	if [ -z "$$python" ]; then \
	  echo "lmm-recovery needs Python 3.12 or newer (best $$(cat .python-version)); found: $$(python3 --version 2>&1)" >&2; exit 1; \
	fi; \
	echo "Installing requirements.lock into .venv with $$($$python --version)" && \
	$$python -m venv .venv && \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv && \
	UV_COMPILE_BYTECODE=1 $(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes requirements.lock && \
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@$(BIN)/python -m compileall -q workflow/scripts
	@$(BIN)/python workflow/scripts/compile_kernels.py
	@touch $@
