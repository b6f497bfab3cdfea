// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"

	"github.com/proa-containers/proa/cmd/proa/cli/output"
	"github.com/proa-containers/proa/libpod"
)

func imageTrustCommand() *command {
	return &command{
		name: "trust", short: "Manage which images are accepted",
		sub: []*command{trustGenerateCommand(), trustSetCommand(), trustShowCommand()},
	}
}

func trustSetCommand() *command {
	return &command{
		examples: []string{
			`proa image trust set -t reject default                             accept nothing but what other rules name`,
			`proa image trust set -f me.gpg registry.example.com/me             accept what this GPG key has signed`,
			`proa image trust set -t sigstoreSigned -f cosign.pub quay.io/me    accept what this sigstore key has signed`,
		},
		name: "set", args: "REGISTRY|default", short: "Set the rule for the images of a registry", min: 1, max: 1,
		long: "REGISTRY is a registry, a namespace in it, a repository or one image (NAME:TAG); the closest rule decides. The rule goes to\n" +
			"~/.config/containers/policy.json, which begins as a copy of the system's. It holds for every pull, build and load from now on.",
		setup: func(f *flagSet) action {
			s := libpod.TrustSetting{Type: "signedBy"}
			policyFlag(f, &s.PolicyPath)
			f.texts(&s.KeyFiles, "pubkeysfile", "f", "File with a public key; of several, each must have signed").typ = "path"
			f.text(&s.Type, "type", "t", "Which images to accept").oneOf("signedBy", "sigstoreSigned", "accept", "reject")
			return func(ctx context.Context, a *app, args []string) error {
				s.Scope = args[0]
				if err := a.absolute(&s.PolicyPath); err != nil {
					return err
				}
				for i := range s.KeyFiles {
					if err := a.absolute(&s.KeyFiles[i]); err != nil {
						return err
					}
				}
				e, err := engineOf[imageEngine](ctx, a)
				if err != nil {
					return err
				}
				_, err = e.TrustSet(s)
				return err
			}
		},
	}
}

// policyFlag registers the name of a policy file; podman 6 calls it like the
// flag of other commands.
func policyFlag(f *flagSet, p *string) {
	f.alias(f.text(p, "policypath", "", "Policy file to use").path(), "signature-policy")
}

type trustShow struct {
	libpod.TrustListOptions
	json, plain, raw bool
}

func trustShowCommand() *command {
	return &command{
		name: "show", args: "[REGISTRY]", short: "Show the rules for images", max: 1,
		setup: func(f *flagSet) action {
			var o trustShow
			f.boolean(&o.json, "json", "j", "Output as JSON")
			f.boolean(&o.plain, "noheading", "n", "Do not print column headings")
			policyFlag(f, &o.PolicyPath)
			f.boolean(&o.raw, "raw", "", "Print the policy file as it is")
			f.text(&o.RegistriesDir, "registrypath", "", "Directory of the files that say where signatures are").dir()
			return func(ctx context.Context, a *app, args []string) error {
				if len(args) > 0 {
					o.Scope = args[0]
				}
				if err := a.absolute(&o.PolicyPath, &o.RegistriesDir); err != nil {
					return err
				}
				return o.run(ctx, a)
			}
		},
	}
}

func (o *trustShow) run(ctx context.Context, a *app) error {
	e, err := engineOf[imageEngine](ctx, a)
	if err != nil {
		return err
	}
	if o.raw {
		data, err := e.TrustPolicy(o.PolicyPath)
		a.out.Print(string(data))
		return err
	}
	list, err := e.TrustList(o.TrustListOptions)
	if err != nil {
		return err
	}
	if o.json {
		text, err := output.JSON(list, "  ")
		a.out.Println(text)
		return err
	}
	titles := []string{"TRANSPORT", "NAME", "TYPE", "ID", "STORE"}
	if o.plain {
		titles = nil
	}
	var rows [][]string
	for _, t := range list {
		rows = append(rows, []string{t.Transport, t.RepoName, t.Type, t.ID, t.Store})
	}
	return a.out.Table(titles, rows)
}
