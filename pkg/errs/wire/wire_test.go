// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"encoding/json"
	"testing"

	"github.com/proa-containers/proa/pkg/errs"
)

func TestError(t *testing.T) {
	for _, in := range []error{
		nil,
		errs.WithHint(errs.New(errs.CommandMissing, "exec: %q: executable file not found in $PATH", "x"), "look again"),
	} {
		data, err := json.Marshal(New(in))
		if err != nil {
			t.Fatal(err)
		}
		var w *Error
		if err := json.Unmarshal(data, &w); err != nil {
			t.Fatal(err)
		}
		out := w.Err()
		if in == nil {
			if out != nil {
				t.Errorf("nil became %v", out)
			}
			continue
		}
		if errs.KindOf(out) != errs.KindOf(in) || out.Error() != in.Error() || errs.HintOf(out) != errs.HintOf(in) {
			t.Errorf("%v %v %q", errs.KindOf(out), out, errs.HintOf(out))
		}
	}
}
