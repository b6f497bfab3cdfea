// SPDX-License-Identifier: Apache-2.0

// Command hello prints one line: what the smallest Go program costs.
package main

import "os"

func main() { os.Stdout.WriteString("hello\n") }
