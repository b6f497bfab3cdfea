// SPDX-License-Identifier: Apache-2.0

package dockerfile

import (
	"errors"
	"testing"

	"github.com/proa-containers/proa/pkg/errs"
)

func TestAtLine(t *testing.T) {
	text := []byte("FROM x\nADD https://me:secret@example.com/a /\r\n")
	cause := errors.New("why")
	err := AtLine("Dockerfile", text, 2, errs.NotFound, cause)
	if want := "Dockerfile:2: why\n     2 | ADD https://xxxxx:xxxxx@example.com/a /"; err.Error() != want {
		t.Errorf("%q, want %q", err, want)
	}
	if !errors.Is(err, cause) || errs.KindOf(err) != errs.NotFound {
		t.Errorf("cause or kind is lost: %#v", err)
	}
	if err := AtLine("Dockerfile", text, 9, errs.Invalid, cause); err.Error() != "Dockerfile:9: why" {
		t.Errorf("a line that is not there: %q", err)
	}
}
