package main

//lint:file-ignore SA1019 The newer schema is read by Grafana 12 and later alone.

import (
	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
)

// Units, as Grafana names them.
const (
	count   = "short"
	perSec  = "cps" // counts per second
	seconds = "s"
)

// Widths and heights on Grafana's grid, which has 24 columns.
const (
	sixth, half = 4, 12
	low, high   = 4, 8
)

// query is a query and what its series are called.
type query struct{ expr, legend string }

// board returns a dashboard of jobs that have the metric.
func board(uid, title, description, metric string) *dashboard.DashboardBuilder {
	return dashboard.NewDashboardBuilder(title).
		Uid("pulse-"+uid).Description(description).Tags([]string{"pulse-events"}).
		Time("now-1h", "now").Refresh("10s").Timezone(common.TimeZoneBrowser).
		Tooltip(dashboard.DashboardCursorSyncCrosshair).
		Link(dashboard.NewDashboardLinkBuilder("Pulse Events").Type(dashboard.DashboardLinkTypeDashboards).
			Tags([]string{"pulse-events"}).KeepTime(true).IncludeVars(true)).
		WithVariable(dashboard.NewDatasourceVariableBuilder("datasource").Label("Data source").Type("prometheus")).
		WithVariable(dashboard.NewQueryVariableBuilder("job").Label("Job").
			Datasource(source()).Query(dashboard.StringOrMap{String: cog.ToPtr("label_values(" + metric + ", job)")}).
			Refresh(dashboard.VariableRefreshOnTimeRangeChanged).Multi(true).IncludeAll(true).AllValue(".*").
			Current(dashboard.VariableOption{
				Text: dashboard.StringOrArrayOfString{String: cog.ToPtr("All")}, Value: dashboard.StringOrArrayOfString{String: cog.ToPtr("$__all")},
			}))
}

func source() common.DataSourceRef {
	return common.DataSourceRef{Type: cog.ToPtr("prometheus"), Uid: cog.ToPtr("${datasource}")}
}

func (q query) target() *prometheus.DataqueryBuilder {
	return prometheus.NewDataqueryBuilder().Expr(q.expr).LegendFormat(q.legend).Datasource(source())
}

// graph returns a panel of lines over time. about says what to read in it.
func graph(title, about, unit string, queries ...query) *timeseries.PanelBuilder {
	p := timeseries.NewPanelBuilder().Title(title).Description(about).Unit(unit).Min(0).
		Datasource(source()).Span(half).Height(high).FillOpacity(10).
		Legend(common.NewVizLegendOptionsBuilder().DisplayMode(common.LegendDisplayModeTable).Placement(common.LegendPlacementBottom).
			ShowLegend(true).Calcs([]string{"lastNotNull", "max"})).
		Tooltip(common.NewVizTooltipOptionsBuilder().Mode(common.TooltipDisplayModeMulti).Sort(common.SortOrderDescending))
	for _, q := range queries {
		p = p.WithTarget(q.target())
	}
	return p
}

// number returns a panel of one number, which is red from bad on.
func number(title, about, unit string, bad float64, q query) *stat.PanelBuilder {
	return stat.NewPanelBuilder().Title(title).Description(about).Unit(unit).
		Datasource(source()).Span(sixth).Height(low).
		ColorMode(common.BigValueColorModeBackground).GraphMode(common.BigValueGraphModeArea).
		Thresholds(thresholds("green", dashboard.Threshold{Value: &bad, Color: "red"})).
		WithTarget(q.target())
}

// upOrDown returns a panel with a field for each series, green for 1 and red for 0.
func upOrDown(title, about string, q query) *stat.PanelBuilder {
	texts := dashboard.ValueMap{Type: "value", Options: map[string]dashboard.ValueMappingResult{
		"0": {Text: cog.ToPtr("DOWN"), Color: cog.ToPtr("red")},
		"1": {Text: cog.ToPtr("up"), Color: cog.ToPtr("green")},
	}}
	return stat.NewPanelBuilder().Title(title).Description(about).
		Datasource(source()).Span(half).Height(low).
		ColorMode(common.BigValueColorModeBackground).GraphMode(common.BigValueGraphModeNone).
		Mappings([]dashboard.ValueMapping{{ValueMap: &texts}}).
		Thresholds(thresholds("red", dashboard.Threshold{Value: cog.ToPtr(1.0), Color: "green"})).
		WithTarget(q.target())
}

func thresholds(lowest string, more ...dashboard.Threshold) *dashboard.ThresholdsConfigBuilder {
	return dashboard.NewThresholdsConfigBuilder().Mode(dashboard.ThresholdsModeAbsolute).
		Steps(append([]dashboard.Threshold{{Color: lowest}}, more...))
}
