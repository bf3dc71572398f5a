#!/bin/sh
# Installs into /opt/segue, in two steps so that a change of our own code does not fetch the dependencies anew:
#   install.sh dependencies SERVICE    everything that is locked, by its hash
#   install.sh members SERVICE         contracts, chassis and the service; the list of what is there; `segue`
set -eu
step=$1 service=$2

case $service in
migrate) members="scheduler sender reply-detector api" ;;
scheduler | sender | reply-detector | api) members=$service ;;
*) echo "SERVICE must be scheduler, sender, reply-detector, api or migrate, not '$service'" >&2 && exit 2 ;;
esac

if [ "$step" = dependencies ]; then
    /opt/tools/bin/pip install --quiet --require-hashes -r deploy/docker/image.lock
    for member in $members; do
        /opt/segue/bin/pip install --quiet --require-hashes -r "deploy/docker/$member.lock"
    done
    exit
fi

set -- ./contracts ./services/chassis
for member in $members; do set -- "$@" "./services/$member"; done
/opt/tools/bin/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir /opt/wheels-of-ours "$@"
/opt/segue/bin/pip install --quiet --no-deps --no-index /opt/wheels-of-ours/*.whl
/opt/segue/bin/pip uninstall --quiet --yes pip setuptools
/opt/segue/bin/python deploy/docker/sbom.py >/opt/segue/sbom.cdx.json
ln -s "segue-$service" /opt/segue/bin/segue
