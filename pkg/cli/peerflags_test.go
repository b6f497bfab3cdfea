// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"strings"
	"testing"
)

// peerFlags are the flags that Docker and podman have for commands on images.
// Each works here, or is refused with a reason and a way out.
var peerFlags = map[string]string{
	"images": "all a digests filter f format no-trunc quiet q tree history noheading n sort", "image ls": "tree sort",
	"image inspect": "format f platform", "inspect": "format f size s type t latest l",
	"history": "format human H no-trunc platform quiet q", "image history": "format",
	"tag": "", "untag": "", "rmi": "force f no-prune platform all a ignore i", "image rm": "platform",
	"image prune": "all a filter force f build-cache external",
	"image tree":  "whatrequires", "image scp": "quiet q", "image mount": "all a format", "image unmount": "all a force f", "image diff": "format",
	"save": "output o platform compress format multi-image-archive m quiet q uncompressed", "load": "input i platform quiet q",
	"import": "change c message m platform arch os variant quiet q", "export": "output o",
	"commit": "author a change c message m pause p config format f iidfile include-volumes quiet q squash s",
	"diff":   "format latest l", "mount": "all a format latest l no-trunc", "unmount": "all a force f latest l",
	"login":            "password p password-stdin username u authfile cert-dir compat-auth-file get-login secret tls-verify verbose v",
	"logout":           "all a authfile compat-auth-file",
	"artifact add":     "annotation append a file-type replace type",
	"artifact extract": "digest title", "artifact inspect": "format f", "artifact ls": "format no-trunc noheading n",
	"artifact pull":     "authfile cert-dir creds decryption-key quiet q retry retry-delay tls-verify",
	"artifact push":     "authfile cert-dir creds digestfile quiet q retry retry-delay sign-by sign-by-sigstore sign-by-sigstore-private-key sign-by-sq-fingerprint sign-passphrase-file tls-verify",
	"artifact rm":       "all a ignore i",
	"manifest add":      "all annotation arch artifact artifact-config artifact-config-type artifact-exclude-titles artifact-layer-type artifact-subject artifact-type authfile cert-dir features os os-version tls-verify variant",
	"manifest annotate": "annotation arch features index os os-features os-version subject variant",
	"manifest create":   "all amend a annotation tls-verify insecure", "manifest exists": "", "manifest remove": "", "manifest rm": "ignore i",
	"manifest inspect": "authfile tls-verify insecure verbose v",
	"manifest push":    "add-compression all authfile cert-dir compression-format compression-level digestfile force-compression format f quiet q remove-signatures retry retry-delay rm sign-by sign-by-sigstore sign-by-sigstore-private-key sign-by-sq-fingerprint sign-passphrase-file tls-verify insecure purge p",
}

func TestPeerFlags(t *testing.T) {
	for words, names := range peerFlags {
		cmd := tree()
		for _, w := range strings.Fields(words) {
			if cmd = cmd.find(w); cmd == nil {
				t.Fatalf("there is no command %q", words)
			}
		}
		f := &flagSet{}
		cmd.setup(f)
		for _, n := range strings.Fields(names) {
			key := n
			if len(n) == 1 {
				key = "-" + n
			}
			switch d := f.named[key]; {
			case d == nil:
				t.Errorf("proa %s does not know the flag %q", words, n)
			case d.refused != "" && d.hint == "":
				t.Errorf("proa %s refuses the flag %q without a hint", words, n)
			}
		}
	}
}
