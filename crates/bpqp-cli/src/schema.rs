//! `bpqp schema`: what a problem file may hold, as a JSON schema.

/// The schema.
pub const SCHEMA: &str = include_str!("schema.json");

#[cfg(test)]
mod tests {
    use super::SCHEMA;
    use crate::problem_file::FIELDS;
    use bpqp::Solver;
    use serde_json::Value;

    #[test]
    fn it_names_what_is_read() {
        let schema: Value = serde_json::from_str(SCHEMA).expect("JSON");
        let properties = schema["properties"].as_object().expect("an object");
        let mut found: Vec<&str> = properties.keys().map(String::as_str).collect();
        let mut known = FIELDS.to_vec();
        found.sort_unstable();
        known.sort_unstable();
        assert_eq!(found, known);
        assert_eq!(properties["solver"]["enum"], Value::from(Solver::ALL.map(Solver::name).to_vec()));
        // every reference leads somewhere
        for part in SCHEMA.split("\"#/$defs/").skip(1) {
            let name = part.split('"').next().unwrap_or("");
            assert!(schema["$defs"][name].is_object(), "{name}");
        }
    }
}
