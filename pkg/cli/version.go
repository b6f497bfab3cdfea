// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/proa-containers/proa/libpod"
)

// versionDocument has the sections that Docker's version has. There is no
// server: the second one is the engine linked into this program.
type versionDocument struct {
	Client versionSection
	Server versionSection
}

type versionSection struct {
	Name         string
	Version      string
	ApiVersion   string `json:",omitempty"`
	GoVersion    string
	GitCommit    string
	Built        string
	BuildTime    string
	Os           string
	Arch         string
	OsArch       string `json:"-"`
	Experimental bool
}

func versions() versionDocument {
	v := new(libpod.Engine).Version()
	s := versionSection{Name: "Proa", Version: v.Version, GoVersion: v.GoVersion, GitCommit: v.Commit, Built: v.Built, BuildTime: v.Built,
		Os: v.OS, Arch: v.Arch, OsArch: v.OS + "/" + v.Arch}
	return versionDocument{Client: s, Server: s}
}

func versionCommand() *command {
	return &command{
		name: "version", args: "", short: "Show the Proa version information",
		setup: func(f *flagSet) action {
			var format string
			f.text(&format, "format", "f", `Format output using a custom template: "json" or a Go template`).suggests(words("json"))
			return func(ctx context.Context, a *app, args []string) error {
				v := versions()
				if format != "" {
					return a.out.Template(format, v)
				}
				a.out.Print("Client:\n" + v.Client.text(false) + "\nServer: Proa (in this program; there is no daemon)\n Engine:\n" + v.Server.text(true))
				return nil
			}
		},
	}
}

func (s versionSection) text(nested bool) string {
	indent := " "
	if nested {
		indent = "  "
	}
	var b strings.Builder
	for _, l := range [][2]string{{"Version", s.Version}, {"Go version", s.GoVersion}, {"Git commit", shortCommit(s.GitCommit)}, {"Built", s.Built}, {"OS/Arch", s.OsArch}} {
		if l[1] == "" {
			continue
		}
		fmt.Fprintf(&b, "%s%-18s%s\n", indent, l[0]+":", l[1])
	}
	return b.String()
}
