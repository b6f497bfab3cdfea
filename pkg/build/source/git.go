// SPDX-License-Identifier: Apache-2.0

package source

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/build/files"
	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/redact"
)

// gitRef is one commit of a repository, or a directory of it: URL#ref:dir, or
// URL?ref=...&subdir=... as BuildKit has it too.
type gitRef struct {
	repo, ref, sub  string
	checksum        string // the commit that it must be: the beginning of its hash suffices
	keepGit, noSubs bool
}

func parseGitRef(arg string) (g gitRef, err error) {
	bad := func(what string) error {
		return errs.New(errs.Invalid, "bad git reference %q: %s", redact.URL(arg), what)
	}
	rest, frag, _ := strings.Cut(arg, "#")
	repo, query, _ := strings.Cut(rest, "?")
	g.repo = repo
	if strings.HasPrefix(repo, "github.com/") {
		g.repo = "https://" + repo
	}
	g.ref, g.sub, _ = strings.Cut(frag, ":")
	values, err := url.ParseQuery(query)
	if err != nil {
		return g, bad(err.Error())
	}
	for key, v := range values {
		on, err := true, error(nil)
		if key == "keep-git-dir" || key == "submodules" {
			if on, err = strconv.ParseBool(v[0]); err != nil {
				return g, bad(key + " is true or false")
			}
		}
		switch key {
		case "ref", "branch", "tag":
			if strings.HasPrefix(v[0], "-") {
				return g, bad("it looks like an option")
			}
			name := refName(key, v[0])
			if g.ref != "" && g.ref != name {
				return g, bad("it names two commits")
			}
			g.ref = name
		case "subdir":
			g.sub = v[0]
		case "checksum", "commit":
			g.checksum = v[0]
		case "keep-git-dir":
			g.keepGit = on
		case "submodules":
			g.noSubs = !on
		default:
			return g, bad("unexpected key " + key)
		}
	}
	if strings.HasPrefix(g.ref, "-") || strings.HasPrefix(g.repo, "-") {
		return g, bad("it looks like an option")
	}
	return g, nil
}

// refName is the full name of a branch or a tag; a ref is what the user calls it.
func refName(kind, name string) string {
	prefix := map[string]string{"branch": "refs/heads/", "tag": "refs/tags/"}[kind]
	return prefix + strings.TrimPrefix(name, prefix)
}

// CloneOptions say how a repository is fetched.
type CloneOptions struct {
	KeepGit  bool
	Checksum string // where not empty, the commit that it must be
	Web      *Web   // nil: servers are reached in git's own way
	// NoSSH: a Dockerfile names the repository, and the user has not lent it the keys of
	// ssh. Neither the repository nor its submodules are asked for with them.
	NoSSH bool
}

// Clone fetches one commit of a repository with the git program and
// returns the directory that the reference names.
func Clone(ctx context.Context, arg, dir string, o CloneOptions) (string, error) {
	ref, err := parseGitRef(arg)
	if err != nil {
		return "", err
	}
	if o.NoSSH && (strings.HasPrefix(ref.repo, "git@") || strings.HasPrefix(ref.repo, "ssh://")) {
		return "", errs.WithHint(errs.New(errs.Denied, "%s: a Dockerfile may not use your ssh keys", redact.URL(arg)),
			"to allow it, build with --ssh default")
	}
	if o.Checksum != "" {
		ref.checksum = o.Checksum
	}
	program, err := exec.LookPath("git")
	if err != nil {
		return "", errs.WithHint(errs.New(errs.Unsupported, "a git context needs the git program"), "apt-get install git")
	}
	aside, err := os.MkdirTemp(filepath.Dir(dir), "git-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(aside)
	g := &gitClone{ctx: ctx, program: program, arg: redact.URL(arg), dir: dir, noSSH: o.NoSSH, web: o.Web}
	if g.env, err = o.Web.gitEnv(aside); err != nil {
		return "", err
	}
	ref.repo, g.account = cutAccount(ref.repo)
	for _, scheme := range []string{"http://", "https://", "git://"} {
		g.noTerminal = g.noTerminal || strings.HasPrefix(ref.repo, scheme)
	}
	g.useSSH()
	if err := g.checkout(ref); err != nil {
		return "", err
	}
	if !o.KeepGit && !ref.keepGit {
		if err := os.RemoveAll(filepath.Join(dir, ".git")); err != nil {
			return "", err
		}
	}
	if ref.sub == "" {
		return dir, nil
	}
	root, err := files.OpenRoot(dir)
	if err != nil {
		return "", err
	}
	defer root.Close()
	return root.ResolveDir(ref.sub)
}

// gitClone runs git in a repository of its own.
type gitClone struct {
	ctx          context.Context
	program, dir string
	arg          string // as messages show it
	account      *gitAccount
	noTerminal   bool // nobody is asked for a password
	noSSH        bool
	web          *Web
	env          []string // on top of the caller's
}

// command is a git that was not started yet.
func (g *gitClone) command(out, errOut io.Writer, args []string) *exec.Cmd {
	all := slices.Concat([]string{"-C", g.dir}, g.account.options(), g.web.gitOptions(), args)
	cmd := exec.CommandContext(g.ctx, g.program, all...)
	cmd.Stdout, cmd.Stderr = out, errOut
	env := slices.DeleteFunc(os.Environ(), func(kv string) bool {
		return isRepository(kv) || g.web != nil && strings.HasPrefix(kv, "GIT_SSL_NO_VERIFY=")
	})
	cmd.Env = slices.Concat(env, []string{"GIT_TERMINAL_PROMPT=0", "GIT_DEFAULT_HASH=sha1"}, g.env, g.account.env())
	if g.noSSH { // for submodules, and for what the user's configuration makes of an address
		cmd.Env = append(cmd.Env, "GIT_ALLOW_PROTOCOL=http:https:git")
	}
	g.endTogether(cmd)
	return cmd
}

func (g *gitClone) git(args ...string) (string, error) {
	var out, errOut bytes.Buffer
	// A connection that ssh keeps for later may hold the pipes: git itself is done.
	if err := runTied(func() *exec.Cmd { return g.command(&out, &errOut, args) }); err != nil && !errors.Is(err, exec.ErrWaitDelay) {
		if g.ctx.Err() != nil {
			return "", g.ctx.Err() // what git said last is not the reason
		}
		said := redact.Text(strings.TrimSpace(errOut.String())) // it may name the repository, or one of its submodules
		return "", &errs.Error{Op: "fetch", Kind: errs.Unavailable, Object: g.arg, Err: errs.New(errs.Unavailable, "git: %s", said)}
	}
	return strings.TrimSpace(out.String()), nil
}

// useSSH lets git use an ssh that works where it runs, unless the user has chosen one.
func (g *gitClone) useSSH() {
	command := sshCommand()
	if command == "" || g.noSSH || os.Getenv("GIT_SSH_COMMAND") != "" || os.Getenv("GIT_SSH") != "" {
		return
	}
	if _, err := g.git("config", "core.sshCommand"); err != nil { // there is none
		g.env = append(g.env, "GIT_SSH_COMMAND="+command)
	}
}

// endTogether lets a cancelled command take along the programs that it has started:
// git leaves them, and one that waits for a silent server would go on for ever. They
// are a process group of their own then, which may not ask anything at the terminal.
// Only ssh does, and has the terminal's group.
func (g *gitClone) endTogether(cmd *exec.Cmd) {
	cmd.WaitDelay = 2 * time.Second
	if !g.noTerminal {
		return
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGKILL) }
}

// isRepository says whether a variable leads git to a repository in spite of
// its directory. A build that a hook of git starts has such ones, and would
// check out into the repository of the hook.
func isRepository(kv string) bool {
	name, _, _ := strings.Cut(kv, "=")
	switch name {
	case "GIT_DIR", "GIT_WORK_TREE", "GIT_IMPLICIT_WORK_TREE", "GIT_COMMON_DIR", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_NAMESPACE",
		"GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_QUARANTINE_PATH", "GIT_SHALLOW_FILE", "GIT_GRAFT_FILE",
		"GIT_REPLACE_REF_BASE", "GIT_NO_REPLACE_OBJECTS":
		return true
	}
	return false
}

// init makes an empty repository, whose hashes are as the options say.
func (g *gitClone) init(repo string, options ...string) error {
	if _, err := g.git(slices.Concat([]string{"init", "-q"}, options)...); err != nil {
		return err
	}
	// What the address of a submodule may be relative to.
	_, err := g.git("config", "remote.origin.url", repo)
	return err
}

func (g *gitClone) checkout(ref gitRef) error {
	if err := g.init(ref.repo); err != nil {
		return err
	}
	want, err := g.fetch(ref)
	if err != nil {
		return err
	}
	if _, err := g.git("checkout", "-q", "--force", "--detach", want); err != nil {
		return err
	}
	head, err := g.git("rev-parse", "HEAD")
	if err != nil {
		return err
	}
	if sum := ref.checksum; sum != "" && (len(sum) < 7 || !strings.HasPrefix(head, strings.ToLower(sum))) {
		return errs.New(errs.Corrupt, "checksum mismatch: expected commit %s, got %s (from %s)", sum, head, g.arg)
	}
	if ref.noSubs {
		return nil
	}
	submodules := []string{"submodule", "update", "-q", "--init", "--recursive"}
	_, first := g.git(append(submodules, "--depth=1")...)
	if first == nil {
		return nil
	}
	if _, err := g.git(submodules...); err != nil { // see fetch
		return first
	}
	return nil
}

// fetch gets the commit and returns the name that it has here now. One commit
// alone is asked for first. A server may refuse that: one without a program on
// its side, or asked for the short form of a hash. Then everything is fetched.
func (g *gitClone) fetch(ref gitRef) (string, error) {
	name := ref.ref
	if name == "" {
		name = "HEAD"
		if len(ref.checksum) >= 40 {
			name = ref.checksum
		}
	}
	one := func() error {
		_, err := g.git("fetch", "-q", "--depth=1", "--", ref.repo, name)
		return err
	}
	first := one()
	if first != nil {
		long, err := g.hasLongHashes(ref.repo)
		if err != nil {
			return "", first // nobody answers, or not to this user: he is not asked a third time
		}
		if long {
			if err := errors.Join(os.RemoveAll(filepath.Join(g.dir, ".git")), g.init(ref.repo, "--object-format=sha256")); err != nil {
				return "", err
			}
			first = one()
		}
	}
	if first == nil {
		return "FETCH_HEAD", nil
	}
	if _, err := g.git("fetch", "-q", "--", ref.repo, "+HEAD:refs/remote/HEAD", "+refs/heads/*:refs/remote/heads/*", "+refs/tags/*:refs/tags/*"); err != nil {
		return "", first
	}
	for _, candidate := range []string{"refs/remote/" + strings.TrimPrefix(name, "refs/"), "refs/remote/heads/" + name, "refs/tags/" + name, name} {
		if _, err := g.git("rev-parse", "-q", "--verify", candidate+"^{commit}"); err == nil {
			return candidate, nil
		}
	}
	return "", first
}

// hasLongHashes says whether a repository has hashes of 256 bits. One of the usual kind
// cannot fetch from it.
func (g *gitClone) hasLongHashes(repo string) (bool, error) {
	out, err := g.git("ls-remote", "-q", "--", repo, "HEAD")
	hash, _, _ := strings.Cut(out, "\t")
	return len(hash) == 64, err
}
