// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"os"
	"slices"
	"sort"
	"strings"

	"github.com/ProtonMail/go-crypto/openpgp"

	"github.com/proa-containers/proa/pkg/errs"
)

// Entry is one rule as `image trust show` shows it; the JSON is podman's.
type Entry struct {
	Transport string   `json:"transport"`
	Name      string   `json:"name,omitempty"`
	RepoName  string   `json:"repo_name,omitempty"`
	Keys      []string `json:"keys,omitempty"`
	Store     string   `json:"sigstore,omitempty"`
	Type      string   `json:"type"`
	ID        string   `json:"gpg_id,omitempty"`
}

// ListOptions say whose rules are shown.
type ListOptions struct {
	PolicyPath    string // empty: the one in force
	RegistriesDir string // empty: the user's and the system's
	Scope         string // empty: every rule
}

// shownRequirement is what we understand of one requirement.
type shownRequirement struct {
	Type     string   `json:"type"`
	KeyPath  string   `json:"keyPath"`
	KeyPaths []string `json:"keyPaths"`
	KeyData  string   `json:"keyData"`
	KeyDatas []string `json:"keyDatas"`
}

// List reads the rules in force, the default first.
func List(o ListOptions) ([]Entry, error) {
	path, data, err := InForce(o.PolicyPath)
	if err != nil {
		return nil, err
	}
	if path == "" {
		data = []byte(acceptAll)
	}
	if _, err := parse(path, data); err != nil {
		return nil, err
	}
	reg, err := ReadRegistries(o.RegistriesDir)
	if err != nil {
		return nil, err
	}
	var p struct {
		Default    []shownRequirement
		Transports map[string]map[string][]shownRequirement
	}
	if err := json.Unmarshal(data, &p); err != nil {
		return nil, err
	}
	out := entries(Entry{Transport: "all", Name: "* (default)", RepoName: "default"}, p.Default, reg)
	for _, t := range order(p.Transports) {
		for _, scope := range sorted(p.Transports[t]) {
			e := Entry{Transport: t, Name: scope, RepoName: scope}
			if t == "docker" {
				e.Transport = "repository"
			}
			out = append(out, entries(e, p.Transports[t][scope], reg)...)
		}
	}
	if o.Scope != "" {
		return only(out, o.Scope)
	}
	return out, nil
}

func sorted[T any](m map[string]T) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}

// order puts docker's rules first.
func order[T any](m map[string]T) []string {
	keys := sorted(m)
	if i := slices.Index(keys, "docker"); i > 0 {
		keys = append([]string{"docker"}, slices.Delete(keys, i, i+1)...)
	}
	return keys
}

// entries are the lines of one rule, one for each requirement.
func entries(e Entry, reqs []shownRequirement, reg *Registries) []Entry {
	var out []Entry
	for _, r := range reqs {
		one := e
		switch r.Type {
		case "insecureAcceptAnything":
			one.Type = Accept
		case "signedBy":
			one.Type = "signed"
			one.Keys, one.ID = r.keys()
		case "sigstoreSigned":
			one.Type, one.ID = r.Type, "N/A"
			one.Keys, _ = r.keys()
		default:
			one.Type = r.Type
		}
		if one.Type == "signed" && (e.Transport == "repository" || e.Transport == "all") {
			one.Store = reg.Store(e.RepoName)
		}
		out = append(out, one)
	}
	return out
}

// keys are the files of a requirement, and whose GPG keys are in them.
func (r *shownRequirement) keys() (paths []string, ids string) {
	if r.KeyPath != "" {
		paths = append(paths, r.KeyPath)
	}
	paths = append(paths, r.KeyPaths...)
	var who []string
	for _, p := range paths {
		data, err := os.ReadFile(p)
		if err != nil {
			who = append(who, "cannot read "+p)
			continue
		}
		who = append(who, owners(data)...)
	}
	for _, d := range append([]string{r.KeyData}, r.KeyDatas...) {
		if data, err := base64.StdEncoding.DecodeString(d); err == nil && len(data) > 0 {
			who = append(who, owners(data)...)
		}
	}
	sort.Strings(who)
	return paths, strings.Join(slices.Compact(who), ",")
}

// owners are the mail addresses of a key ring, else the names.
func owners(data []byte) []string {
	list, err := openpgp.ReadKeyRing(bytes.NewReader(data))
	if err != nil {
		if list, err = openpgp.ReadArmoredKeyRing(bytes.NewReader(data)); err != nil {
			return nil
		}
	}
	var out []string
	for _, k := range list {
		for _, id := range k.Identities {
			who := id.UserId.Email
			if who == "" {
				who = id.Name
			}
			out = append(out, who)
		}
	}
	return out
}

// only are the rules that say something about a scope: its own and those
// inside of it, else the closest one around it.
func only(list []Entry, scope string) ([]Entry, error) {
	if scope != DefaultScope {
		if err := checkScope(scope); err != nil {
			return nil, err
		}
	}
	pick := func(f func(Entry) bool) []Entry {
		var out []Entry
		for _, e := range list {
			if (e.Transport == "repository" || e.Transport == "all") && f(e) {
				out = append(out, e)
			}
		}
		return out
	}
	own := pick(func(e Entry) bool {
		return e.RepoName == scope || strings.HasPrefix(e.RepoName, scope+"/") || strings.HasPrefix(e.RepoName, scope+":")
	})
	if len(own) > 0 {
		return own, nil
	}
	for _, p := range append(parents(scope), "", DefaultScope) {
		if found := pick(func(e Entry) bool { return e.RepoName == p }); len(found) > 0 {
			return found, nil
		}
	}
	return nil, errs.New(errs.NotFound, "no rule for %s", scope)
}
