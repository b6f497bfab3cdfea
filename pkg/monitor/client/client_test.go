// SPDX-License-Identifier: Apache-2.0

package client

import (
	"path/filepath"
	"testing"

	"github.com/proa-containers/proa/pkg/errs"
)

func TestDialNobody(t *testing.T) {
	if _, err := Dial(filepath.Join(t.TempDir(), "c")); !errs.Is(err, errs.State) {
		t.Errorf("dial: %v", err)
	}
}
