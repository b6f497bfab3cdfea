// SPDX-License-Identifier: Apache-2.0

package source

import (
	"net/url"
	"strings"
)

// gitAccount is the account of a repository's URL. git gets it in its environment:
// its arguments, and those of its children, are for everybody on the machine to see.
type gitAccount struct {
	server         string // scheme://host[:port]; no other one is told the account
	user, password string
}

// cutAccount takes the account out of an HTTP URL. Of other URLs, and of those that
// cannot be parsed, it leaves everything to git; the account is nil then.
func cutAccount(repo string) (string, *gitAccount) {
	u, err := url.Parse(repo)
	if err != nil || u.User == nil || u.Scheme != "http" && u.Scheme != "https" {
		return repo, nil
	}
	password, _ := u.User.Password()
	a := &gitAccount{server: u.Scheme + "://" + u.Host, user: u.User.Username(), password: password}
	if strings.ContainsAny(a.user+a.password, "\n\r\x00") {
		return repo, nil // git refuses it, and says so
	}
	u.User = nil
	return u.String(), a
}

// helper is what git asks for an account. It runs in a shell, whose echo may do
// things with a backslash; printf is the shell's own as well.
const helper = `!f() { test "$1" = get || return 0; printf "username=%s\npassword=%s\n" "$PROA_GIT_USER" "$PROA_GIT_PASSWORD"; }; f`

// options lead git to the helper, for this server. The user's own helpers are left
// out there: git would tell them the account, and some write it down.
func (a *gitAccount) options() []string {
	if a == nil {
		return nil
	}
	key := "credential." + a.server + ".helper="
	return []string{"-c", key, "-c", key + helper}
}

func (a *gitAccount) env() []string {
	if a == nil {
		return nil
	}
	return []string{"PROA_GIT_USER=" + a.user, "PROA_GIT_PASSWORD=" + a.password}
}
