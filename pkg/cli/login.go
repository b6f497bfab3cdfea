// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"strings"

	"github.com/proa-containers/proa/libpod"
	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/term"
)

type loginFlags struct {
	libpod.LoginOptions
	stdin, get, tlsVerify, verbose bool
}

func loginCommand() *command {
	return &command{
		examples: []string{
			`proa login registry.example.com                      asks for name and password`,
			`proa login -u me --password-stdin ghcr.io <token     a script without a terminal`,
		},
		name: "login", args: "[SERVER]", short: "Authenticate to a registry", max: 1,
		long: "Without a server it is docker.io. Credentials go to the helper that registries.conf or the file names, else to the\nfile: --authfile, $REGISTRY_AUTH_FILE, or ~/.config/containers/auth.json.",
		setup: func(f *flagSet) action {
			o := loginFlags{tlsVerify: true}
			f.text(&o.AuthFile, "authfile", "", "File to keep the credentials in").path()
			f.text(&o.CertDir, "cert-dir", "", "Directory with certificates of the registry").dir()
			f.boolean(&o.get, "get-login", "", "Print the user name that is known for the registry")
			f.text(&o.Password, "password", "p", "Password or access token")
			f.boolean(&o.stdin, "password-stdin", "", "Take the password from stdin")
			f.boolean(&o.tlsVerify, "tls-verify", "", tlsVerifyUsage).def = ""
			f.text(&o.Username, "username", "u", "Username")
			f.boolean(&o.verbose, "verbose", "v", "Tell where the credentials are kept")
			f.text(&o.CompatAuthFile, "compat-auth-file", "", "File of Docker's kind to keep the credentials in, instead").path()
			f.refuse("secrets are for containers", "take the password from standard input: --password-stdin", "secret")
			return func(ctx context.Context, a *app, args []string) error {
				if f.changed("tls-verify") {
					o.TLSVerify = &o.tlsVerify
				}
				if o.stdin && f.changed("password") {
					return errs.New(errs.Invalid, "--password and --password-stdin are mutually exclusive")
				}
				if f.changed("password") && !o.get {
					a.out.Hint("WARNING! Using --password via the CLI is insecure. Use --password-stdin.")
				}
				return o.run(ctx, a, args)
			}
		},
	}
}

func (o *loginFlags) run(ctx context.Context, a *app, args []string) error {
	if len(args) > 0 {
		o.Registry = args[0]
	}
	if err := authFiles(a, &o.LoginOptions); err != nil {
		return err
	}
	if err := checkCertDir(o.CertDir); err != nil {
		return err
	}
	e, err := engineOf[imageEngine](ctx, a)
	if err != nil {
		return err
	}
	if o.get {
		return o.print(a, e)
	}
	if err := o.ask(ctx, a, e); err != nil {
		return err
	}
	where, err := e.Login(ctx, o.LoginOptions)
	if err != nil {
		return err
	}
	if strings.HasPrefix(where, "/") {
		a.out.Hint("WARNING! Your credentials are stored unencrypted in '" + where + "'.")
	}
	if o.verbose {
		a.out.Println("Used: " + where)
	}
	a.out.Println("Login Succeeded")
	return nil
}

// authFiles makes the paths absolute.
func authFiles(a *app, o *libpod.LoginOptions) error {
	if o.AuthFile != "" && o.CompatAuthFile != "" {
		return errs.WithHint(errs.New(errs.Invalid, "--authfile and --compat-auth-file cannot be used together"), "omit one of the two")
	}
	return a.absolute(&o.AuthFile, &o.CompatAuthFile, &o.CertDir)
}

func (o *loginFlags) print(a *app, e imageEngine) error {
	name, err := e.LoggedIn(o.LoginOptions)
	if err == nil && name == "" {
		err = errs.New(errs.NotFound, "not logged into %s", server(o.Registry))
	}
	if err == nil {
		a.out.Println(name)
	}
	return err
}

func server(registry string) string {
	if registry == "" {
		return "docker.io"
	}
	return registry
}

// ask completes user name and password: from standard input, from what is
// known, from the person at the terminal.
func (o *loginFlags) ask(ctx context.Context, a *app, e imageEngine) error {
	if o.stdin {
		if o.Username == "" {
			return errs.WithHint(errs.New(errs.Invalid, "Must provide --username with --password-stdin"), "proa login -u NAME --password-stdin %s", server(o.Registry))
		}
		b, err := io.ReadAll(io.LimitReader(a.stdin(ctx), 1<<20))
		o.Password = strings.TrimRight(string(b), "\r\n")
		return err
	}
	if o.Username == "" && o.Password == "" {
		user, password, err := e.Credentials(o.LoginOptions)
		if err == nil && user != "" && password != "" {
			a.out.Println("Authenticating with existing credentials...")
			o.Username, o.Password = user, password
			return nil
		}
	}
	if o.Username != "" && o.Password != "" {
		return nil
	}
	tty := a.keyboard()
	if tty == nil {
		return errs.WithHint(errs.New(errs.Invalid, "Cannot perform an interactive login from a non TTY device"), "proa login -u NAME --password-stdin %s <FILE", server(o.Registry))
	}
	return o.converse(ctx, a, tty)
}

// converse asks the person at the terminal for the missing credentials.
func (o *loginFlags) converse(ctx context.Context, a *app, tty *os.File) (err error) {
	in := bufio.NewReader(term.Interruptible(ctx, tty))
	if o.Username == "" {
		if o.Username, err = a.answer(in, "Username: "); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if o.Username = strings.TrimSpace(o.Username); o.Username == "" {
			return o.missing(a, err, "username is required")
		}
	}
	if o.Password == "" {
		if o.Password, err = a.secret(in, tty, "Password: "); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if o.Password = strings.TrimSpace(o.Password); o.Password == "" {
			return o.missing(a, nil, "password is required")
		}
	}
	return nil
}

// missing is the error about a question that got no answer. After Ctrl-D the
// cursor still stands behind the question.
func (o *loginFlags) missing(a *app, end error, text string) error {
	if end != nil {
		a.out.Println("")
	}
	return errs.WithHint(errs.New(errs.Invalid, "%s", text),
		"type it, or: proa login -u NAME --password-stdin %s", server(o.Registry))
}

func logoutCommand() *command {
	return &command{
		examples: []string{
			`proa logout registry.example.com`,
		},
		name: "logout", args: "[SERVER]", short: "Log out from a registry", max: 1,
		setup: func(f *flagSet) action {
			var o libpod.LoginOptions
			var all bool
			f.boolean(&all, "all", "a", "Forget the credentials of all registries")
			f.text(&o.AuthFile, "authfile", "", "File that the credentials are in").path()
			f.text(&o.CompatAuthFile, "compat-auth-file", "", "File of Docker's kind that the credentials are in").path()
			return func(ctx context.Context, a *app, args []string) error { return logout(ctx, a, o, all, args) }
		},
	}
}

func logout(ctx context.Context, a *app, o libpod.LoginOptions, all bool, args []string) error {
	if len(args) > 0 {
		o.Registry = args[0]
	}
	if all && o.Registry != "" {
		return errs.WithHint(errs.New(errs.Invalid, "--all cannot be used with a server"), "omit one of the two")
	}
	if err := authFiles(a, &o); err != nil {
		return err
	}
	for _, f := range []struct{ flag, path string }{{"authfile", o.AuthFile}, {"compat-auth-file", o.CompatAuthFile}} {
		if err := checkAuthFile(f.flag, f.path); err != nil {
			return err
		}
	}
	e, err := engineOf[imageEngine](ctx, a)
	if err != nil {
		return err
	}
	err = e.Logout(o, all)
	switch {
	case errs.Is(err, errs.NotFound):
		a.out.Println("Not logged in to " + server(o.Registry))
		return nil
	case err != nil:
		return err
	case all:
		a.out.Println("Removing login credentials for all registries")
	default:
		a.out.Println("Removing login credentials for " + server(o.Registry))
	}
	return nil
}
