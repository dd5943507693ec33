//! YAML with its lines: which line a field stands on.

use std::{collections::HashMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Number, Value};
use serde_saphyr::Spanned;

use super::Finding;

/// One document of a file.
#[derive(Clone, Debug)]
pub struct Document {
    /// What it says.
    pub value: Value,
    lines: HashMap<String, usize>,
}

impl Document {
    /// `kind`, or nothing.
    pub fn kind(&self) -> &str {
        self.value["kind"].as_str().unwrap_or_default()
    }

    /// `metadata.name`, or nothing.
    pub fn name(&self) -> &str {
        self.value["metadata"]["name"].as_str().unwrap_or_default()
    }

    /// The line of a field, or of the nearest one around it.
    pub fn line_of(&self, field: &str) -> usize {
        let mut field = field.trim_start_matches('.');
        loop {
            if let Some(line) = self.lines.get(field) {
                return *line;
            }
            match field.rfind(['.', '[']) {
                Some(at) => field = &field[..at],
                None => return self.lines.get("").copied().unwrap_or(1),
            }
        }
    }
}

/// All documents of a text; empty ones are left out.
///
/// # Errors
/// When it is not YAML, or names a key twice.
pub fn read(text: &str) -> Result<Vec<Document>, Finding> {
    let documents: Vec<Spanned<Tree>> = serde_saphyr::from_multiple(text).map_err(|error| {
        let line = error.location().map_or(1, |at| usize::try_from(at.line()).unwrap_or(1));
        // Its own text quotes the line.
        let message = "this is no YAML, or a key is there twice: correct the line".to_owned();
        Finding { field: String::new(), message, line }
    })?;
    Ok(documents
        .into_iter()
        .filter(|document| !matches!(document.value, Tree::Scalar(Value::Null)))
        .map(|document| {
            let mut lines = HashMap::from([(String::new(), line(&document))]);
            let value = document.value.plain("", &mut lines);
            Document { value, lines }
        })
        .collect())
}

fn line<T>(spanned: &Spanned<T>) -> usize {
    usize::try_from(spanned.referenced.line()).unwrap_or(1).max(1)
}

enum Tree {
    Scalar(Value),
    Map(Vec<(Spanned<String>, Self)>),
    List(Vec<Spanned<Self>>),
}

impl Tree {
    fn plain(self, path: &str, lines: &mut HashMap<String, usize>) -> Value {
        match self {
            Self::Scalar(value) => value,
            Self::Map(fields) => {
                let mut map = Map::new();
                for (key, tree) in fields {
                    let path = super::schema::join(path, &key.value);
                    lines.insert(path.clone(), line(&key));
                    map.insert(key.value, tree.plain(&path, lines));
                }
                Value::Object(map)
            }
            Self::List(items) => {
                let items = items.into_iter().enumerate().map(|(index, item)| {
                    let path = format!("{path}[{index}]");
                    lines.insert(path.clone(), line(&item));
                    item.value.plain(&path, lines)
                });
                Value::Array(items.collect())
            }
        }
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("YAML")
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Scalar(Value::Null))
    }

    fn visit_none<E>(self) -> Result<Tree, E> {
        Ok(Tree::Scalar(Value::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Tree, D::Error> {
        Tree::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Tree, E> {
        Ok(Tree::Scalar(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Tree, E> {
        Ok(Tree::Scalar(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Tree, E> {
        Ok(Tree::Scalar(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Tree, E> {
        Ok(Tree::Scalar(Number::from_f64(value).map_or(Value::Null, Value::Number)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Tree, E> {
        Ok(Tree::Scalar(value.into()))
    }

    fn visit_string<E>(self, value: String) -> Result<Tree, E> {
        Ok(Tree::Scalar(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Tree, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Tree::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Tree, A::Error> {
        let mut fields = Vec::new();
        while let Some(entry) = access.next_entry()? {
            fields.push(entry);
        }
        Ok(Tree::Map(fields))
    }
}
