// Command chart draws the results of a comparison, which it reads as JSON from
// its input, as an SVG for docs/benchmarks.md. With -table it writes tables of
// Markdown.
package main

import (
	"flag"
	"log"
	"os"

	"github.com/asimalizada/pulse-events/internal/bench"
)

func main() {
	log.SetFlags(0)
	table := flag.Bool("table", false, "write tables of Markdown instead")
	flag.Parse()
	results, err := bench.ReadResults(os.Stdin)
	if err != nil {
		log.Fatal("chart: ", err)
	}
	write := results.SVG
	if *table {
		write = results.Table
	}
	if err := write(os.Stdout); err != nil {
		log.Fatal("chart: ", err)
	}
}
