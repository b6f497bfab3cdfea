// SPDX-License-Identifier: Apache-2.0

package dockerfile

import (
	"strings"
	"testing"

	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

func TestRelabels(t *testing.T) {
	for flags, want := range map[string]string{
		"--mount=type=bind,target=/c,z":                    "--mount=type=bind,target=/c",
		"--mount=Z,type=cache,target=/c":                   "--mount=type=cache,target=/c",
		"--mount=relabel=private,target=/c,relabel=shared": "--mount=target=/c",
		`--mount=type=bind,\"target=/a,b\",z`:              `--mount=type=bind,"target=/a,b"`,
		"--mount=type=bind,target=/z":                      "--mount=type=bind,target=/z",
		"--network=none --mount=target=/c,z":               "--network=none --mount=target=/c",
	} {
		res, err := parser.Parse(strings.NewReader("FROM x\nRUN " + flags + " true\n"))
		if err != nil {
			t.Fatal(err)
		}
		if err := relabels(res.AST); err != nil {
			t.Errorf("%s: %v", flags, err)
		}
		if got := strings.Join(res.AST.Children[1].Flags, " "); got != want {
			t.Errorf("%s: got %s, want %s", flags, got, want)
		}
	}
	for _, flag := range []string{"relabel=on", "U", "chown=true", "noexec", "tmpfs-size=1m", "tmpfs-mode=700", "bind-propagation=shared", "rshared"} {
		if _, err := parseTrigger("RUN --mount=target=/c," + flag + " true"); err == nil {
			t.Errorf("%s was taken", flag)
		}
	}
	// Of other instructions they are names of files.
	if _, err := parseTrigger("COPY --mount=U a b"); err != nil {
		t.Error(err)
	}
}
