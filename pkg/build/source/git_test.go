// SPDX-License-Identifier: Apache-2.0

package source

import "testing"

func TestParseGitRef(t *testing.T) {
	for arg, want := range map[string]gitRef{
		"https://h/x.git":          {repo: "https://h/x.git"},
		"https://h/x.git#v1":       {repo: "https://h/x.git", ref: "v1"},
		"https://h/x.git#:sub/dir": {repo: "https://h/x.git", sub: "sub/dir"},
		"git@h:x.git#main:d":       {repo: "git@h:x.git", ref: "main", sub: "d"},
		"github.com/a/b#x":         {repo: "https://github.com/a/b", ref: "x"},
		"https://h/x.git?branch=b&subdir=d&submodules=false&keep-git-dir=1": {repo: "https://h/x.git", ref: "refs/heads/b", sub: "d", noSubs: true, keepGit: true},
		"https://h/x.git?tag=v1#refs/tags/v1:d":                             {repo: "https://h/x.git", ref: "refs/tags/v1", sub: "d"},
		"https://h/x.git?ref=v1":                                            {repo: "https://h/x.git", ref: "v1"},
		"https://h/x.git?checksum=0123456789":                               {repo: "https://h/x.git", checksum: "0123456789"},
	} {
		if got, err := parseGitRef(arg); err != nil || got != want {
			t.Errorf("%s: %+v, %v", arg, got, err)
		}
	}
	for _, arg := range []string{"https://h/x.git#--upload-pack=x", "--x.git", "https://h/x.git?branch=-x", "https://h/x.git?nonsense=1", "https://h/x.git?ref=a#b", "https://h/x.git?tag=a&branch=a", "https://h/x.git?branch=a#a", "https://h/x.git?submodules=maybe"} {
		if got, err := parseGitRef(arg); err == nil {
			t.Errorf("%s is taken for %+v", arg, got)
		}
	}
}
