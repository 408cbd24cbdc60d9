//! The answer to the satisfaction survey.

use tidemark_shared::privacy::PersonalColumn;

use super::error::TransformError;
use super::privacy::Privacy;
use super::text;
use crate::row::columns::Satisfaction;
use crate::row::source::SourceCsat;

pub(super) fn satisfaction<'a>(
    privacy: &Privacy,
    csat: Option<&'a SourceCsat>,
) -> Result<Satisfaction<'a>, TransformError> {
    let rating = csat.and_then(|csat| csat.rating);
    let feedback = csat.and_then(|csat| csat.feedback.as_deref());
    Ok(Satisfaction {
        csat_response_id: csat.and_then(|csat| csat.id),
        csat_rating: rating,
        csat_feedback: privacy.text(PersonalColumn::CsatFeedback, feedback, |text| {
            text::whole("csat_feedback", text)
        })?,
        csat_created_at: csat.and_then(|csat| csat.created_at),
        csat_nps_category: match rating {
            Some(5) => Some("Promotor"),
            Some(4) => Some("Neutro"),
            Some(1..=3) => Some("Detrator"),
            _ => None,
        },
        csat_sentiment_category: match rating {
            Some(4..) => Some("Positivo"),
            Some(3) => Some("Neutro"),
            Some(..=2) => Some("Negativo"),
            None => None,
        },
        has_csat: csat.is_some(),
        has_written_feedback: feedback.is_some_and(|feedback| !feedback.is_empty()),
        has_detailed_feedback: feedback.is_some_and(|feedback| feedback.chars().nth(50).is_some()),
    })
}
