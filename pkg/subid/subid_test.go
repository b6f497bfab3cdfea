// SPDX-License-Identifier: Apache-2.0

package subid

import (
	"strings"
	"testing"
)

func TestHintFor(t *testing.T) {
	usual := Hint()
	if !strings.Contains(usual, "sudo usermod --add-subuids ") || !strings.Contains(usual, " --add-subgids ") {
		t.Error(usual)
	}
	if far := HintFor(65537, 2147480000); far != "choose an id below 65537: those are the ones that /etc/subuid and /etc/subgid give you" {
		t.Error(far)
	}
	start := FreeStart()
	for have, want := range map[int64]uint32{65537: 65536, 1: 131072} {
		if got, cmd := HintFor(have, 70000), Command(LoginName(HostUID()), start, want, true, true); !strings.HasSuffix(got, cmd) {
			t.Errorf("%d ids: %s, want %s", have, got, cmd)
		}
	}
	if got := Command("ann", 200000, 65536, false, true); got != "sudo usermod --add-subgids 200000-265535 ann" {
		t.Error(got)
	}
}
