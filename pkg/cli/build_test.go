// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"strings"
	"testing"
)

// Every flag that "docker build", "docker buildx build" and "podman build" have
// works or is refused with a reason and a hint: none is unknown.
func TestBuildFlagsAreKnown(t *testing.T) {
	var f flagSet
	(&buildFlags{}).register(&f)
	for _, name := range strings.Fields(buildFlagNames) {
		d := f.named[name]
		if d == nil {
			t.Errorf("--%s is unknown", name)
			continue
		}
		if d.refused != "" && d.hint == "" {
			t.Errorf("--%s is refused without a hint", name)
		}
	}
	for _, short := range strings.Fields("-t -f -o -q -m -c -v -D") {
		if f.named[short] == nil {
			t.Errorf("%s is unknown", short)
		}
	}
}

const buildFlagNames = `
add-host allow annotation attest build-arg build-context builder cache-from cache-to call cgroup-parent check
file iidfile label load metadata-file network no-cache no-cache-filter output platform policy progress provenance
pull push quiet sbom secret shm-size ssh tag target ulimit compress cpu-period cpu-quota cpu-shares cpuset-cpus
cpuset-mems disable-content-trust force-rm isolation memory memory-swap rm security-opt squash stream storage-opt
build-arg-file cap-add cap-drop cgroupns compat-volumes cpp-flag created-annotation cw
decryption-key device disable-compression dns dns-option dns-search env format from group-add hooks-dir http-proxy
identity-label ignorefile iidfile-raw inherit-annotations inherit-labels ipc jobs layer-label layers logfile logsplit
mount no-hostname no-hosts omit-history os-feature os-version pid rewrite-timestamp runtime runtime-flag save-stages
sbom-image-output sbom-image-purl-output sbom-merge-strategy sbom-output sbom-purl-output sbom-scanner-command
sbom-scanner-image sign-by signature-policy skip-unused-stages source-date-epoch source-policy-file squash-all
all-platforms arch authfile cache-ttl cert-dir compression-format compression-level creds force-compression log-rusage
manifest os pull-always pull-never retry retry-delay rusage-logfile tls-verify variant debug
stage-labels stdin timestamp unsetannotation unsetenv unsetlabel userns userns-gid-map userns-gid-map-group
userns-uid-map userns-uid-map-user uts volume`
