//! The restaurant chain: its branches, and the departments that report figures.

use crate::demo::words::words;

words! {
    /// A department, and the source its figures come from.
    Department { Sales = "sales", Bookings = "bookings", Occupancy = "occupancy", Shifts = "shifts" }
}

/// The restaurants, in alphabetical order.
pub(super) const BRANCHES: [&str; 4] = ["Central", "Harbour", "Market", "Riverside"];

/// What one reading of a department tells, in the order of its text.
pub(super) type Figures = [(&'static str, u64); 2];

impl Department {
    /// What its source is, for people who read that it failed.
    pub(super) fn source(self) -> &'static str {
        match self {
            Self::Sales => "the till system",
            Self::Bookings => "the booking portal",
            Self::Occupancy => "the table sensors",
            Self::Shifts => "the time clock",
        }
    }

    /// The names of its figures.
    pub(super) fn measures(self) -> [&'static str; 2] {
        self.usual().map(|(name, _)| name)
    }

    /// An ordinary quarter of an hour: what is reported when nothing better is known.
    pub(super) fn usual(self) -> Figures {
        match self {
            Self::Sales => [("orders", 18), ("revenue_eur", 400)],
            Self::Bookings => [("tables_booked", 4), ("guests", 11)],
            Self::Occupancy => [("seats_taken", 36), ("percent_taken", 60)],
            Self::Shifts => [("people_present", 7), ("people_planned", 8)],
        }
    }

    /// Figures in words.
    pub(super) fn tell(self, [(_, first), (_, second)]: &Figures) -> String {
        match self {
            Self::Sales => format!("{first} orders, {second} EUR"),
            Self::Bookings => format!("{first} tables booked for {second} guests"),
            Self::Occupancy => format!("{first} seats taken, {second} %"),
            Self::Shifts => format!("{first} of {second} people present"),
        }
    }
}
