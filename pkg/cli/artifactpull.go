// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"io"
)

func artifactPullCommand() *command {
	return &command{
		name: "pull", args: "ARTIFACT", short: "Download an artifact from a registry", min: 1, max: 1,
		setup: func(f *flagSet) action {
			var r registryFlags
			var quiet bool
			r.register(f)
			r.registerRetry(f)
			f.boolean(&quiet, "quiet", "q", "Print only the digest")
			f.refuse("the files of an artifact are kept as the registry has them", "omit it", "decryption-key")
			return withEngine(func(ctx context.Context, a *app, e imageEngine, args []string) error {
				remote, err := r.options(a)
				if err != nil {
					return err
				}
				d, err := e.ArtifactPull(ctx, args[0], remote, progressTo(a, quiet))
				if err == nil {
					a.out.Println(hexOf(d))
				}
				return err
			})
		},
	}
}

func artifactPushCommand() *command {
	return &command{
		name: "push", args: "ARTIFACT", short: "Upload an artifact to the registry of its name", min: 1, max: 1,
		setup: func(f *flagSet) action {
			var r registryFlags
			var quiet bool
			var digestFile string
			r.register(f)
			r.registerRetry(f)
			f.text(&digestFile, "digestfile", "", "Write the digest of the pushed artifact to the file").path()
			f.boolean(&quiet, "quiet", "q", "Print only the digest")
			f.refuse("artifacts are not signed", "sign it at the registry, for example with cosign", "sign-by", "sign-by-sigstore", "sign-by-sigstore-private-key", "sign-by-sq-fingerprint", "sign-passphrase-file")
			return withEngine(func(ctx context.Context, a *app, e imageEngine, args []string) error {
				remote, err := r.options(a)
				if err == nil {
					err = a.absolute(&digestFile)
				}
				if err != nil {
					return err
				}
				d, err := e.ArtifactPush(ctx, args[0], remote, progressTo(a, quiet))
				if err != nil {
					return err
				}
				a.out.Println(hexOf(d))
				if digestFile != "" {
					return a.writeFile(digestFile, []byte(d), 0o644)
				}
				return nil
			})
		},
	}
}

// progressTo is where a transfer is told whose result goes to standard output.
func progressTo(a *app, quiet bool) io.Writer {
	if quiet {
		return nil
	}
	return a.out.ErrWriter()
}
