// SPDX-License-Identifier: Apache-2.0

package dockerfile

import "testing"

func FuzzExposedPorts(f *testing.F) {
	for _, s := range []string{"80", "80-82/udp", "1-65535", "70000", "9-1", "/", "80/sctp", "-", "1-"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		ports, err := Ports(s)
		if err == nil && (len(ports) == 0 || len(ports) > 65536) {
			t.Fatalf("%q gives %d ports", s, len(ports))
		}
	})
}

// A plan never fails in another way than with an error, and what it keeps only
// waits for earlier stages.
func FuzzPlan(f *testing.F) {
	for _, s := range []string{
		"FROM a AS b\nFROM b\nCOPY --from=0 / /\n", "ARG A=b\nFROM $A\nRUN <<E\nx\nE\n", "FROM scratch\nCOPY --from=0 / /\n",
		"# syntax=x\n# escape=`\nFROM a\nRUN --mount=type=cache,target=/c true\n", "# check=error=true\nfrom a as B\nCMD x\nCMD y\n",
		"FROM --platform=$BUILDPLATFORM a\nONBUILD RUN x\nHEALTHCHECK NONE\n", "FROM \"\"\n", "FROM a\nCOPY <<a <<b /\na\nb\n",
	} {
		f.Add([]byte(s), "")
	}
	f.Fuzz(func(t *testing.T, text []byte, target string) {
		p, err := Parse(text, "Dockerfile", &Options{Target: target}, "")
		if err != nil {
			return
		}
		for _, st := range p.Stages {
			for _, d := range st.Deps {
				if d.Index >= st.Index {
					t.Fatalf("stage %d waits for stage %d", st.Index, d.Index)
				}
			}
		}
	})
}
