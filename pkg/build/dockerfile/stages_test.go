// SPDX-License-Identifier: Apache-2.0

package dockerfile

import (
	"fmt"
	"strings"
	"testing"

	"github.com/proa-containers/proa/pkg/errs"
)

// What names stand for, and so which stages are kept.
func TestStages(t *testing.T) {
	for _, c := range []struct {
		name, text, target string
		contexts           string
		want               string // base and dependencies of each kept stage, or the error
	}{
		{"earlier before later", "FROM a AS x\nFROM b\nCOPY --from=x / /\nFROM c AS x\nFROM 1\n", "1", "", "0:a 1:b[0]"},
		{"later", "FROM a AS x\nCOPY --from=y / /\nFROM b AS y\nFROM x\n", "", "", "0:a[1] 1:b 2:x[0]"},
		{"later by number", "FROM a AS x\nCOPY --from=1 / /\nFROM b\nFROM x\n", "", "", "0:a[1] 1:b 2:x[0]"},
		{"FROM takes no later one", "FROM y AS x\nFROM b AS y\n", "x", "", "0:y"},
		{"no such number", "FROM a AS x\nCOPY --from=7 / /\n", "", "", "0:a"},
		{"circle", "FROM a AS x\nCOPY --from=y / /\nFROM x AS y\n", "", "", "!f:1: circular dependency detected on stage: x"},
		{"circle of dropped ones", "FROM a AS x\nCOPY --from=y / /\nFROM x AS y\nFROM b\n", "", "", "!f:1: circular dependency"},
		{"itself", "FROM a AS x\nCOPY --from=X / /\n", "", "", "!f:2: stage \"X\" cannot copy from itself"},
		{"variable", "ARG S=x\nFROM a AS x\nFROM b\nCOPY --from=${S} / /\n", "", "", "!f:4: variable expansion is not supported for --from: ${S}"},
		{"triggers of a stage", "FROM a AS x\nFROM b AS y\nONBUILD COPY --from=x / /\nFROM y\n", "", "", "0:a 1:b 2:y[1 0]"},
		{"triggers of a stage are for others", "FROM a AS x\nFROM b AS y\nONBUILD COPY --from=x / /\nFROM y\n", "y", "", "1:b"},
		{"circle of triggers", "FROM b AS y\nONBUILD COPY --from=z / /\nFROM y\nFROM 1 AS z\nCOPY --from=1 / /\n", "", "", "!f:3: circular dependency detected on stage: 1"},
		{"context", "FROM a AS x\nRUN old\nFROM b\nCOPY --from=x / /\nCOPY --from=0 / /\n", "", "x", "1:b"},
		{"context as the base", "FROM a AS x\nRUN old\nFROM x\n", "", "x", "1:x"},
		{"context as the target", "FROM a AS z\nFROM z AS x\nRUN old\nFROM x\n", "x", "x", "1:x!"},
		{"platform", "FROM --platform=linux/$TARGETARCH a\n", "", "", "0:a"},
		{"mistyped platform", "FROM --platform=$TARGETPLATFROM a\n", "", "", "!f:1: empty platform value from expression $TARGETPLATFROM (did you mean TARGETPLATFORM?)"},
		{"half a platform", "FROM --platform=linux/$NO a\n", "", "", "!f:1: \"linux/\" is an invalid OS"},
		{"no platform", "FROM --platform=amd46 a\n", "", "", "!f:1: \"amd46\": unknown operating system or architecture"},
	} {
		o := &Options{Target: c.target, Named: func(n string) bool { return n == c.contexts }}
		p, err := Parse([]byte(c.text), "f", o, "")
		if want, bad := strings.CutPrefix(c.want, "!"); bad {
			if !errs.Is(err, errs.Invalid) || !strings.HasPrefix(err.Error(), want) {
				t.Errorf("%s: %v, want %s", c.name, err, want)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		var got []string
		for _, st := range p.Stages {
			s := fmt.Sprintf("%d:%s", st.Index, st.Base)
			if st.Context {
				s += "!"
			}
			var deps []string
			for _, d := range st.Deps {
				deps = append(deps, d.indexText())
			}
			if len(deps) > 0 {
				s += "[" + strings.Join(deps, " ") + "]"
			}
			got = append(got, s)
		}
		if g := strings.Join(got, " "); g != c.want {
			t.Errorf("%s: %s, want %s", c.name, g, c.want)
		}
	}
}

func (st *Stage) indexText() string { return fmt.Sprint(st.Index) }

// A file whose stages each read all others before them is no work.
func TestManyStages(t *testing.T) {
	var text strings.Builder
	for i := range 120 {
		fmt.Fprintf(&text, "FROM scratch AS s%d\n", i)
		for j := range i {
			fmt.Fprintf(&text, "COPY --from=s%d / /\n", j)
		}
	}
	if p, err := Parse([]byte(text.String()), "f", &Options{}, ""); err != nil || len(p.Stages) != 120 {
		t.Error(err)
	}
}

func TestTargetStage(t *testing.T) {
	const text = "FROM a AS one\nFROM b\nFROM c AS last\n"
	for _, c := range []struct{ text, target, want string }{
		{text, "", "last"}, {text, "one", "one"}, {text, "0", "one"}, {text, "1", "1"}, {"FROM a\n", "", "default"},
	} {
		p, err := Parse([]byte(c.text), "f", &Options{Target: c.target}, "")
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := p.Global.Get("TARGETSTAGE"); got != c.want {
			t.Errorf("target %q: %q, want %q", c.target, got, c.want)
		}
	}
}
