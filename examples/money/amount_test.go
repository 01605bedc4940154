package money_test

import (
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/asimalizada/pulse-events/examples/money"
)

func TestParse(t *testing.T) {
	for _, c := range []struct {
		text string
		want money.Amount
		err  error
	}{
		{"77.5", 7750, nil},
		{"77.50", 7750, nil},
		{"77.5000000", 7750, nil},
		{"12", 1200, nil},
		{"0.01", 1, nil},
		{"0.10", 10, nil},
		{"100", 10000, nil},
		{"7.75e1", 7750, nil},
		{"7750E-2", 7750, nil},
		{"1e+2", 10000, nil},
		{"1000000000", money.Max, nil},
		{"1000000000.00", money.Max, nil},
		{"0.29", 29, nil}, // 28.999... as a float
		{"1000000000.01", 0, money.ErrTooLarge},
		{"9999999999", 0, money.ErrTooLarge},
		{"1e308", 0, money.ErrTooLarge},
		{"1e1000000000", 0, money.ErrNotANumber},
		{"1e99999999999999999999", 0, money.ErrNotANumber},
		{strings.Repeat("9", 100), 0, money.ErrNotANumber},
		{"0", 0, money.ErrNotPositive},
		{"0.00", 0, money.ErrNotPositive},
		{"-0", 0, money.ErrNotPositive},
		{"-77.5", 0, money.ErrNotPositive},
		{"0.001", 0, money.ErrTooManyDecimals},
		{"77.555", 0, money.ErrTooManyDecimals},
		{"1e-3", 0, money.ErrTooManyDecimals},
		{"", 0, money.ErrNotANumber},
		{"abc", 0, money.ErrNotANumber},
		{`"77.5"`, 0, money.ErrNotANumber},
		{"null", 0, money.ErrNotANumber},
		{"+1", 0, money.ErrNotANumber},
		{"01", 0, money.ErrNotANumber},
		{"1.", 0, money.ErrNotANumber},
		{".5", 0, money.ErrNotANumber},
		{"1,5", 0, money.ErrNotANumber},
		{"NaN", 0, money.ErrNotANumber},
		{"1 ", 0, money.ErrNotANumber},
		{"1\n", 0, money.ErrNotANumber},
	} {
		got, err := money.Parse(c.text)
		if got != c.want || !errors.Is(err, c.err) {
			t.Errorf("Parse(%q) = %d, %v; want %d, %v", c.text, got, err, c.want, c.err)
		}
	}
}

func TestAmountText(t *testing.T) {
	for amount, want := range map[money.Amount]string{
		7750: "77.5", 1200: "12", 1: "0.01", 10: "0.1", 10000: "100", 0: "0", 7755: "77.55",
		-5: "-0.05", money.Max: "1000000000", math.MinInt64: "-92233720368547758.08",
	} {
		if got := amount.String(); got != want {
			t.Errorf("Amount(%d) reads %s, want %s", int64(amount), got, want)
		}
	}
}

// FuzzParse: what is taken comes back as the same number of cents.
func FuzzParse(f *testing.F) {
	for _, text := range []string{"77.5", "1e2", "0.01", "-1", "1e-2", "999999999.99"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		amount, err := money.Parse(text)
		if err != nil {
			return
		}
		if amount <= 0 || amount > money.Max {
			t.Fatalf("Parse(%q) = %d", text, amount)
		}
		encoded, err := json.Marshal(amount)
		if err != nil {
			t.Fatal(err)
		}
		var back money.Amount
		if err := json.Unmarshal(encoded, &back); err != nil || back != amount {
			t.Fatalf("%q: %d became %s became %d, %v", text, amount, encoded, back, err)
		}
	})
}
