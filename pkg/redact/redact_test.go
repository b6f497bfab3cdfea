// SPDX-License-Identifier: Apache-2.0

package redact

import (
	"testing"

	"github.com/moby/buildkit/util/urlutil"
)

func TestURL(t *testing.T) {
	for given, want := range map[string]string{
		"https://user:token@example.com/a.git#main:sub": "https://xxxxx:xxxxx@example.com/a.git#main:sub",
		"https://token@example.com/a":                   "https://xxxxx@example.com/a",
		"https://:token@example.com/a":                  "https://:xxxxx@example.com/a",
		"https://example.com/a?b":                       "https://example.com/a?b",
		"https://example.com/@scope/a":                  "https://example.com/@scope/a",
		"https://example.com/a?token=b":                 "https://example.com/a?token=b",
		"ssh://git@example.com/a.git":                   "ssh://xxxxx@example.com/a.git",
		"git@example.com:me/a.git":                      "git@example.com:me/a.git",
		"dir/file@1":                                    "dir/file@1",
		"":                                              "",
	} {
		if got := URL(given); got != want {
			t.Errorf("%s is shown as %s, want %s", given, got, want)
		}
		if peer := urlutil.RedactCredentials(given); peer != want {
			t.Errorf("%s: BuildKit shows %s, want %s", given, peer, want)
		}
	}
	// What BuildKit shows as it is, since it cannot parse it.
	for given, want := range map[string]string{
		"https://user:to%ken@example.com/a":             "https://xxxxx:xxxxx@example.com/a",
		"https://user:to ken@example.com/a":             "https://xxxxx:xxxxx@example.com/a",
		"https://user:to/k#e?n@example.com/a":           "https://xxxxx:xxxxx@example.com/a",
		"https://user:to@ken@example.com:99999999/%zz":  "https://xxxxx:xxxxx@example.com:99999999/%zz",
		"https://user:token@[::1/a":                     "https://xxxxx:xxxxx@[::1/a",
		"https://proxy/https://user:token@example.com/": "https://proxy/https://xxxxx:xxxxx@example.com/",
		"https://example.com/%zz/@scope":                "https://example.com/%zz/@scope",
	} {
		if got := URL(given); got != want {
			t.Errorf("%s is shown as %s, want %s", given, got, want)
		}
	}
}

func TestText(t *testing.T) {
	for given, want := range map[string]string{
		"ADD https://me:secret@example.com/a https://b@c/d /e@f/": "ADD https://xxxxx:xxxxx@example.com/a https://xxxxx@c/d /e@f/",
		`ADD ["https://me:sec ret@example.com/a","x@y"]`:          `ADD ["https://xxxxx:xxxxx@example.com/a","x@y"]`,
		`ADD ["https://example.com","x@y"]`:                       `ADD ["https://example.com","x@y"]`,
		`git: '{https://me:secret@example.com/}': refused`:        `git: '{https://xxxxx:xxxxx@example.com/}': refused`,
		`git: 'https://me:sec"ret@example.com/': refused`:         `git: 'https://xxxxx:xxxxx@example.com/': refused`,
		`"https://me:secret@example.com/`:                         `"https://xxxxx:xxxxx@example.com/`,
		"ADD https://$USER:${TOKEN}@example.com/a /":              "ADD https://xxxxx:xxxxx@example.com/a /",
		"ADD https://127.0.0.1:$PORT/@scope/a /":                  "ADD https://127.0.0.1:$PORT/@scope/a /",
		"https://example.com/\tme:secret@example.com":             "https://example.com/\tme:secret@example.com",
		"://":           "://",
		"no URL: a@b":   "no URL: a@b",
		"a://b://c@d/e": "a://b://xxxxx@d/e",
	} {
		if got := Text(given); got != want {
			t.Errorf("%s\nis shown as\n%s, want\n%s", given, got, want)
		}
	}
}
