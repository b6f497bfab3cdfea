// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"io"
	"strings"

	"github.com/proa-containers/proa/cmd/proa/cli/output"
	"github.com/proa-containers/proa/libpod"
	"github.com/proa-containers/proa/pkg/errs"
)

// artifactEngine is the part of the engine that keeps artifacts.
type artifactEngine interface {
	Artifacts(context.Context) ([]libpod.Artifact, error)
	ArtifactInspect(ctx context.Context, ref string) (*libpod.Artifact, error)
	ArtifactAdd(ctx context.Context, name string, files []string, o libpod.ArtifactAddOptions) (string, error)
	ArtifactExtract(ctx context.Context, ref, target string, o libpod.ArtifactExtractOptions) error
	ArtifactPull(ctx context.Context, name string, r libpod.RemoteOptions, progress io.Writer) (string, error)
	ArtifactPush(ctx context.Context, name string, r libpod.RemoteOptions, progress io.Writer) (string, error)
	ArtifactRemove(ctx context.Context, ref string) (string, error)
	ArtifactRemoveAll(context.Context) ([]string, error)
}

func artifactCommand() *command {
	return &command{
		name: "artifact", short: "Manage OCI artifacts: files that registries keep beside images",
		long: "Artifacts have a store of their own. \"proa system prune\" leaves them alone, and \"proa system df\" does not\ncount them.",
		sub: []*command{artifactAddCommand(), artifactExtractCommand(), inspectorOne(lookupArtifact, "ARTIFACT", "Show the manifest of an artifact"),
			artifactListCommand(), artifactPullCommand(), artifactPushCommand(), artifactRemoveCommand()},
	}
}

func artifactListCommand() *command {
	return &command{
		name: "ls", aliases: []string{"list"}, args: "", short: "List artifacts",
		setup: func(f *flagSet) action {
			var format string
			var noTrunc, noHeading bool
			formatFlag(f, &format, output.ArtifactHeader())
			f.boolean(&noTrunc, "no-trunc", "", "Don't truncate output")
			f.alias(f.boolean(&noHeading, "noheading", "n", "Do not print the titles of the columns"), "no-heading")
			return withEngine(func(ctx context.Context, a *app, e imageEngine, _ []string) error {
				list, err := e.Artifacts(ctx)
				if err != nil {
					return err
				}
				rows := make([]any, len(list))
				for i := range list {
					rows[i] = output.Artifact(&list[i], noTrunc)
				}
				return a.out.List(output.List{Header: output.ArtifactHeader(), Columns: output.ArtifactColumns(), Format: format, NoHeading: noHeading}, rows)
			})
		},
	}
}

func artifactRemoveCommand() *command {
	return &command{
		name: "rm", aliases: []string{"remove"}, args: "ARTIFACT [ARTIFACT...]", short: "Remove artifacts", max: -1,
		setup: func(f *flagSet) action {
			var all, ignore bool
			f.boolean(&all, "all", "a", "Remove all artifacts")
			f.boolean(&ignore, "ignore", "i", "An artifact that does not exist is no error")
			return func(ctx context.Context, a *app, args []string) error {
				return artifactRemove(ctx, a, args, all, ignore)
			}
		},
	}
}

func artifactRemove(ctx context.Context, a *app, args []string, all, ignore bool) error {
	c := a.call
	switch {
	case all && len(args) > 0:
		return errs.WithHint(errs.New(errs.Invalid, "--all cannot be used with names of artifacts"), "omit one of the two")
	case !all && len(args) == 0:
		return c.command().usageError(c.words, "%q requires at least 1 argument", c.words)
	}
	e, err := engineOf[imageEngine](ctx, a)
	if err != nil {
		return err
	}
	if all {
		list, err := e.ArtifactRemoveAll(ctx)
		for _, d := range list {
			a.out.Println(hexOf(d))
		}
		return err
	}
	return a.each(args, func(ref string) error {
		d, err := e.ArtifactRemove(ctx, ref)
		if ignore && errs.Is(err, errs.NotFound) {
			return nil
		}
		if err == nil {
			a.out.Println(hexOf(d))
		}
		return err
	})
}

// hexOf is how podman prints an artifact's digest.
func hexOf(digest string) string {
	_, hex, _ := strings.Cut(digest, ":")
	return hex
}
