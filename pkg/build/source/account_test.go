// SPDX-License-Identifier: Apache-2.0

package source

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"
)

func TestCutAccount(t *testing.T) {
	for given, want := range map[string]struct {
		rest string
		a    *gitAccount
	}{
		"https://me:se%2Fcret@h:80/x.git": {"https://h:80/x.git", &gitAccount{"https://h:80", "me", "se/cret"}},
		"https://token@h/x.git":           {"https://h/x.git", &gitAccount{"https://h", "token", ""}},
		"http://:secret@h/x.git":          {"http://h/x.git", &gitAccount{"http://h", "", "secret"}},
		"https://h/x.git":                 {"https://h/x.git", nil},
		"ssh://git@h/x.git":               {"ssh://git@h/x.git", nil},
		"git@h:x.git":                     {"git@h:x.git", nil},
		"https://me:%0a@h/x.git":          {"https://me:%0a@h/x.git", nil},
		"https://me:%zz@h/x.git":          {"https://me:%zz@h/x.git", nil},
	} {
		rest, a := cutAccount(given)
		if rest != want.rest || (a == nil) != (want.a == nil) || a != nil && *a != *want.a {
			t.Errorf("%s: %s, %+v", given, rest, a)
		}
	}
}

// git itself finds the account, whatever is in it, and for its server only. The
// user's own helpers are neither asked nor told.
func TestGitFindsAccount(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("no git")
	}
	a := &gitAccount{"https://example.com:80", `a\\n"$(x)`, `p'\t %s=;`}
	asked := t.TempDir() + "/asked"
	ask := func(host string) string {
		t.Helper()
		args := append([]string{"-c", "credential.helper=!f() { echo $1 >>" + asked + "; }; f"}, a.options()...)
		cmd := exec.Command("git", append(args, "credential", "fill")...)
		cmd.Env = append(append(os.Environ(), "GIT_TERMINAL_PROMPT=0", "GIT_ASKPASS=true"), a.env()...)
		cmd.Stdin = strings.NewReader("protocol=https\nhost=" + host + "\n\n")
		var out bytes.Buffer
		cmd.Stdout = &out
		_ = cmd.Run() // without an account it fails
		return out.String()
	}
	if got := ask("example.com:80"); !strings.Contains(got, "\nusername="+a.user+"\npassword="+a.password+"\n") {
		t.Errorf("git got %q", got)
	}
	if _, err := os.Stat(asked); err == nil {
		t.Error("the user's own helper was asked")
	}
	for _, other := range []string{"example.com", "example.com:81", "evil.example.com:80"} {
		if got := ask(other); strings.Contains(got, a.password) {
			t.Errorf("%s got %q", other, got)
		}
	}
	if _, err := os.Stat(asked); err != nil {
		t.Errorf("for another server the user's own helper was not asked: %v", err)
	}
}
