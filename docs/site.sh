#!/bin/sh
# Builds the site into target/site, without the network once its tools are installed: every notebook of the gallery runs, and a
# broken link or anchor fails. The environment is that of python/test.sh, which has to have run.
#
#   docs/site.sh            build
#   docs/site.sh serve      build, and serve it on this machine
set -eu
cd "$(dirname "$0")/.."
env="$PWD/target/python"
if [ ! -f "$env/site-ready" ]; then
    "$env/bin/python" -m pip install --quiet --disable-pip-version-check \
        "mkdocs>=1.6,<2" "mkdocs-material>=9.7,<10" "mkdocstrings-python>=2,<3" "mkdocs-jupyter>=0.26,<0.28"
    "$env/bin/python" -m ipykernel install --prefix "$env" --name bpqp >/dev/null
    # a kernel warns of every start that it talks to this machine only
    sed -i.old 's/"-f"/"--log-level=40", "-f"/' "$env/share/jupyter/kernels/bpqp/kernel.json"
    touch "$env/site-ready"
fi
# what the tools warn of each other is no fault of a page
export NO_MKDOCS_2_WARNING=1 DISABLE_MKDOCS_2_WARNING=true PYDEVD_DISABLE_FILE_VALIDATION=1
export PYTHONPATH="$PWD/python" PYTHONWARNINGS=ignore MPLBACKEND=module://matplotlib_inline.backend_inline
case "${1:-build}" in
serve) exec "$env/bin/mkdocs" serve --strict ;;
*) "$env/bin/mkdocs" build --strict --quiet ;;
esac
