// SPDX-License-Identifier: Apache-2.0

// Command gendocs writes the command reference and the manual pages.
package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/proa-containers/proa/pkg/cli"
)

func main() {
	dir := flag.String("o", "docs", "directory to write cli/ and man/ in")
	check := flag.Bool("check", false, "only compare")
	flag.Parse()
	do := cli.WriteDocs
	if *check {
		do = cli.CheckDocs
	}
	if err := do(*dir); err != nil {
		fmt.Fprintln(os.Stderr, "gendocs:", err)
		os.Exit(1)
	}
}
