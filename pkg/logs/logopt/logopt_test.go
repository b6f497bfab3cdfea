// SPDX-License-Identifier: Apache-2.0

package logopt

import (
	"fmt"
	"testing"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/spec"
)

func TestAttrs(t *testing.T) {
	info := Info{
		ID: "0123456789abcdef", Name: "web", ImageID: "fedcba9876543210", ImageName: "nginx:latest",
		Labels: map[string]string{"app": "shop", "tier": "front"}, Env: []string{"HOST=a=b", "EMPTY=", "X"},
	}
	for _, c := range []struct{ k, v, want string }{
		{"max-size", "1m", "map[]"},
		{"labels", "app,none", "map[app:shop]"},
		{"labels-regex", "^t", "map[tier:front]"},
		{"env", "HOST,EMPTY", "map[EMPTY: HOST:a=b]"},
		{"env-regex", "^(X|H)", "map[HOST:a=b X:]"},
		{"tag", "{{.Name}}/{{.ID}}", "map[tag:web/0123456789ab]"},
		{"tag", "{{.ImageName}} {{.ImageID}} {{.FullID}} {{.ImageFullID}} {{.DaemonName}}", "map[tag:nginx:latest fedcba987654 0123456789abcdef fedcba9876543210 proa]"},
	} {
		got, err := Attrs(spec.Logging{Options: map[string]string{c.k: c.v}}, info)
		if err != nil || fmt.Sprint(got) != c.want {
			t.Errorf("%s=%s: got %v, %v", c.k, c.v, got, err)
		}
	}
	for _, c := range []struct{ k, v string }{{"tag", "{{.Nope}}"}, {"tag", "{{"}, {"env-regex", "("}} {
		if _, err := Attrs(spec.Logging{Options: map[string]string{c.k: c.v}}, info); !errs.Is(err, errs.Invalid) || errs.HintOf(err) == "" {
			t.Errorf("%s=%s: %v", c.k, c.v, err)
		}
	}
}
